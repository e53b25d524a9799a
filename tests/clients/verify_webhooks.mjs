// Reads [{"secret", "headers", "body"}] from standard input, and says of each message whether the official libraries of
// Standard Webhooks and of Svix believe it.

import { readFileSync } from "node:fs";

import * as standardwebhooks from "standardwebhooks";
import * as svix from "svix";

for (const { secret, headers, body } of JSON.parse(readFileSync(0, "utf8"))) {
  for (const [name, library] of Object.entries({ standardwebhooks, svix })) {
    let verdict = "verified";
    try {
      new library.Webhook(secret).verify(body, headers);
    } catch (error) {
      if (!(error instanceof library.WebhookVerificationError)) throw error;
      verdict = "refused";
    }
    console.log(name, verdict);
  }
}
