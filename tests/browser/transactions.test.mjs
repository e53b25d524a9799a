// The list of transactions, live, and a transaction's whole story.
import assert from "node:assert/strict";
import { inspect, pages, signInAsOperator, signInWithKey } from "./browser.mjs";

let count = 0;

/** Orders a prompt by the API; the number's last four digits decide how it ends. */
async function order(place, ending = "5678", more = {}) {
  count += 1;
  const answer = await place.api("/api/ussd/payments", {
    provider: "mpesa",
    kind: "stk_push",
    msisdn: `25471234${ending}`,
    amount: 1200,
    client_request_id: `ORDER-${process.pid}-${count}`,
    ...more,
  });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return answer.body.transaction;
}

pages("transactions", ({ test }) => {
  test("a new payment and its success arrive without a reload", async (page, place) => {
    await order(place, "1032");
    await signInWithKey(page, place);
    await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Transactions" }).click();
    await page.getByText("Live", { exact: true }).waitFor();
    await page.evaluate(() => (globalThis.loadedOnce = true));
    const made = await order(place);
    const row = page.locator(`tr[data-id="${made.transaction_id}"]`);
    await row.getByText("Accepted").waitFor();
    await row.getByText("Success").waitFor();
    assert.equal(await page.evaluate(() => globalThis.loadedOnce), true);
    // The newest stands first, and its number is masked.
    assert.equal(await page.locator("tbody tr").first().getAttribute("data-id"), made.transaction_id);
    assert.match(await row.innerText(), /2547\*\*\*\*\*678/);
    await inspect(page, "transactions");
  });

  test("filters find what they say", async (page, place) => {
    const made = await order(place, "0001", { amount: 777 });
    await signInWithKey(page, place);
    await page.goto(`${place.base}/console/transactions`);
    await page.getByLabel("Phone number").fill("0712 340 001");
    await page.getByRole("button", { name: "Show" }).click();
    await page.locator(`tr[data-id="${made.transaction_id}"]`).getByText("777.00").waitFor();
    await page.getByLabel("Phone number").fill("12");
    await page.getByRole("button", { name: "Show" }).click();
    await page.getByRole("alert").getByText("msisdn").waitFor();
    await inspect(page, "transactions-wrong-filter");
  });

  test("a story tells everything, and changes by itself", async (page, place) => {
    await signInWithKey(page, place);
    const made = await order(place, "0002", { amount: 4500, account_reference: "INV-2031" });
    await page.goto(`${place.base}/console/transactions/${place.partner.id}/${made.transaction_id}`);
    await page.locator(".summary").getByText("Success").waitFor();
    await page.getByText("duplicate").first().waitFor();
    await page.locator("section", { hasText: "Callbacks in" }).locator("summary").first().click();
    await page.getByText("stkCallback").first().waitFor();
    assert.equal(await page.getByText("712340002").count(), 0);
    await page.locator("section", { hasText: "Webhooks out" }).locator("summary").last().click();
    await inspect(page, "story");
    await page.getByRole("button", { name: "Show the whole number" }).click();
    await page.locator(".summary").getByText("254712340002").waitFor();
    await page.goto(`${place.base}/console/transactions/${place.partner.id}/${made.transaction_id}`);
    assert.equal(await page.getByText("254712340002").count(), 0);
  });

  test("a failure's story says why", async (page, place) => {
    const made = await order(place, "1032");
    await signInWithKey(page, place);
    await page.goto(`${place.base}/console/transactions/${place.partner.id}/${made.transaction_id}`);
    await page.locator(".summary").getByText("Failed").waitFor();
    await page.getByText("1032").first().waitFor();
    await inspect(page, "story-failed");
  });

  test("an operator sees all partners' transactions", async (page, place) => {
    const made = await order(place);
    await signInAsOperator(page, place);
    await page.goto(`${place.base}/console/transactions`);
    await page.locator(`tr[data-id="${made.transaction_id}"]`).getByText("Duka Nairobi").waitFor();
    await inspect(page, "transactions-of-all");
  });
});
