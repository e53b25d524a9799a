// Looking after the service: webhook endpoints and their dead letters, secrets and keys, accounts, callbacks that could not
// be understood, the audit log.
import assert from "node:assert/strict";
import { inspect, pages, signInAsOperator, signInWithKey } from "./browser.mjs";

/** Signs in as the operator and looks at the partner. */
async function operate(page, place) {
  await signInAsOperator(page, place);
  await page.goto(`${place.base}/console/partners`);
  const look = page.getByRole("button", { name: "Look at Duka Nairobi" });
  if (await look.count()) await look.click();
}

pages("operating", ({ test }) => {
  test("a dead letter is sent again and arrives", async (page, place) => {
    place.receiver.status = 500;
    const order = { client_request_id: `DEAD-${page.width}`, msisdn: "254712345678", amount: 1200 };
    assert.equal((await place.api("/api/ussd/transactions", order)).status, 201);
    await signInWithKey(page, place);
    await page.goto(`${place.base}/console/webhooks`);
    await page.getByRole("link", { name: `${place.receiver.url}/hook` }).click();
    await page.getByRole("button", { name: "Disable" }).click();
    await page.getByRole("status").getByText("disabled").waitFor();
    await page.getByRole("button", { name: "Enable" }).click();
    await page.getByRole("status").getByText("enabled").waitFor();
    await page.goto(`${place.base}/console/webhooks`);
    await inspect(page, "webhooks");
    await page.getByRole("link", { name: `${place.receiver.url}/hook` }).click();
    await page.getByRole("link", { name: "Dead letters" }).click();
    const dead = page.locator("details", { hasText: "dead letter" });
    await dead.first().locator("summary").click();
    await inspect(page, "webhook-dead");
    place.receiver.status = 200;
    const before = place.receiver.received.length;
    await dead.first().getByRole("button", { name: "Send again" }).click();
    await page.getByRole("status").getByText("will be made again").waitFor();
    for (let look = 0; look < 60 && place.receiver.received.length === before; look += 1) {
      await page.waitForTimeout(500);
    }
    assert.ok(place.receiver.received.length > before, "nothing arrived");
    await page.reload();
    await page.getByText("delivered", { exact: true }).first().waitFor();
    await inspect(page, "webhook");
  });

  test("a secret is rotated and shown once", async (page, place) => {
    await signInWithKey(page, place);
    await page.goto(`${place.base}/console/webhooks/${place.endpoint.id}`);
    await page.getByText("Rotate the secret, or remove").click();
    await page.getByRole("button", { name: "Rotate the secret" }).click();
    const secret = await page.locator(".secret code").innerText();
    assert.match(secret, /^whsec_/);
    assert.notEqual(secret, place.endpoint.secret);
    await inspect(page, "secret");
    await page.getByRole("link", { name: "On to the endpoint" }).click();
    await page.getByText("the one before signs too until").waitFor();
    assert.equal(await page.getByText(secret).count(), 0);
    await page.getByRole("button", { name: "Send a test event" }).click();
    await page.getByRole("status").getByText("The test event was delivered").waitFor();
  });

  test("a key is replaced by another", async (page, place) => {
    await operate(page, place);
    await page.goto(`${place.base}/console/keys`);
    await inspect(page, "keys");
    await page.getByLabel("Expires in days").fill("90");
    await page.getByRole("button", { name: "Create the key" }).click();
    const key = await page.locator(".secret code").innerText();
    assert.match(key, /^us_/);
    const answer = await fetch(`${place.base}/api/ussd/webhooks`, { headers: { "x-api-key": key } });
    assert.equal(answer.status, 200);
    await page.getByRole("link", { name: "On to the keys" }).click();
    await page.getByRole("button", { name: `Revoke ${key.slice(0, 11)}` }).click();
    await page.getByRole("status").getByText("is revoked").waitFor();
    await inspect(page, "keys-revoked");
  });

  test("an account is checked", async (page, place) => {
    await operate(page, place);
    await page.goto(`${place.base}/console/accounts`);
    await page.getByRole("button", { name: "Check M-Pesa" }).click();
    await page.getByText("the provider gave a token").waitFor();
    await inspect(page, "accounts");
  });

  test("a callback that could not be understood is there, masked", async (page, place) => {
    const answer = await fetch(`${place.base}/callbacks/${place.mpesa.callback_token}/stk`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "<b>not JSON</b> of 254712345678",
    });
    assert.equal(answer.status, 200);
    await operate(page, place);
    await page.goto(`${place.base}/console/callbacks`);
    await page.getByText("2547*****678").first().waitFor();
    await inspect(page, "callbacks");
    await page.getByRole("button", { name: "Read again", exact: true }).first().click();
    await page.getByRole("status").getByText("still cannot be understood").waitFor();
  });

  test("the audit log says who did what from where", async (page, place) => {
    // A sign-in is no partner's thing: it is shown while all partners are looked at.
    await signInAsOperator(page, place);
    await page.goto(`${place.base}/console/audit`);
    await inspect(page, "audit");
    await page.getByLabel("What").fill("console.sign_in");
    await page.getByRole("button", { name: "Show" }).click();
    await page.getByText("console:asha").first().waitFor();
    await page.getByText("127.0.0.1").first().waitFor();
    await page.getByLabel("What").fill("nothing.such");
    await page.getByRole("button", { name: "Show" }).click();
    await page.getByText("Nothing found.").waitFor();
  });
});
