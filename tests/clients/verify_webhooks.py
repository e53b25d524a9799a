"""Reads [{"secret", "headers", "body"}] from standard input, and says of each message whether the official libraries of
Standard Webhooks and of Svix believe it."""

import json
import sys

import standardwebhooks.webhooks
import svix.webhooks

for message in json.load(sys.stdin):
    for library in (standardwebhooks.webhooks, svix.webhooks):
        try:
            library.Webhook(message["secret"]).verify(message["body"], message["headers"])
            verdict = "verified"
        except library.WebhookVerificationError:
            verdict = "refused"
        print(library.__name__.split(".")[0], verdict)
