// Money out: paying a customer, taking a payment back, and what is on the accounts.
import assert from "node:assert/strict";
import { inspect, pages, signInWithKey } from "./browser.mjs";

/** Fills in the details of a payout and goes on to the check. */
async function fill(page, place, { provider = "M-Pesa", purpose = "Payout", phone = "0712345678", amount = "1200" } = {}) {
  await page.goto(`${place.base}/console/pay-out`);
  await page.getByRole("radio", { name: provider }).check();
  await page.getByRole("radio", { name: purpose }).check();
  await page.getByLabel("Phone number").pressSequentially(phone);
  await page.getByLabel("Amount").fill(amount);
  await page.getByLabel("Remarks").fill("November wages");
  await page.getByLabel("Occasion").fill("Payday");
  await page.getByRole("button", { name: "Continue" }).click();
}

pages("paying out", ({ test }) => {
  test("a salary in three steps, and its end arrives live", async (page, place) => {
    await signInWithKey(page, place);
    await page.goto(`${place.base}/console/pay-out`);
    await inspect(page, "pay-out");
    await fill(page, place, { purpose: "Salary" });
    await page.getByText("+254 712 345 678").waitFor();
    await inspect(page, "pay-out-check");
    await page.getByRole("button", { name: "Pay now" }).click();
    await page.getByRole("heading", { name: "Accepted" }).waitFor();
    await page.getByRole("heading", { name: "Done" }).waitFor();
    await inspect(page, "pay-out-done");
  });

  test("ClickPesa tells who gets it and what it costs", async (page, place) => {
    await signInWithKey(page, place);
    await fill(page, place, { provider: "ClickPesa", purpose: "Refund", amount: "15000" });
    await page.getByText("NEEMA MUSHI").waitFor();
    await inspect(page, "pay-out-check-clickpesa");
    await page.getByRole("button", { name: "Pay now" }).click();
    await page.getByRole("heading", { name: "Done" }).waitFor();
  });

  test("too little on the account is told with what to do", async (page, place) => {
    await signInWithKey(page, place);
    await fill(page, place, { phone: "0712340001" });
    await page.getByRole("button", { name: "Pay now" }).click();
    await page.getByRole("heading", { name: "Not enough money" }).waitFor();
    await page.getByText("Top up the account").waitFor();
  });

  test("what is wrong is said at the field", async (page, place) => {
    await signInWithKey(page, place);
    await fill(page, place, { amount: "9" });
    await page.getByRole("alert").getByText("amount").waitFor();
    assert.equal(await page.getByLabel("Amount").getAttribute("aria-invalid"), "true");
    await inspect(page, "pay-out-wrong");
    page.problems.splice(0).forEach((problem) => assert.match(problem, /400/));
  });

  test("a payment is taken back after its receipt was typed", async (page, place) => {
    const order = { provider: "mpesa", kind: "stk_push", msisdn: "254712345678", amount: 1200 };
    const made = await place.api("/api/ussd/payments", { ...order, client_request_id: `BACK-${page.width}` });
    assert.equal(made.status, 201, JSON.stringify(made.body));
    await signInWithKey(page, place);
    await page.goto(`${place.base}/console/progress/${place.partner.id}/${made.body.transaction.transaction_id}`);
    await page.getByRole("heading", { name: "Paid" }).waitFor();
    const receipt = await page.locator(".progress p code").first().innerText();
    await page.goto(`${place.base}/console/reverse`);
    await page.getByLabel("Receipt or transaction id").fill(receipt);
    await page.getByRole("button", { name: "Find" }).click();
    await page.getByText("A reversal cannot be undone.").waitFor();
    await inspect(page, "reverse");
    await page.getByLabel("Reason").fill("Wrong amount");
    await page.getByLabel("Type the receipt to confirm").fill("RKT0000000");
    await page.getByRole("button", { name: "Take the payment back" }).click();
    await page.getByRole("alert").getByText("is not the receipt of this payment").waitFor();
    await inspect(page, "reverse-wrong");
    page.problems.splice(0).forEach((problem) => assert.match(problem, /400/));
    await page.getByLabel("Type the receipt to confirm").fill(receipt);
    await page.getByRole("button", { name: "Take the payment back" }).click();
    await page.getByRole("heading", { name: "Done" }).waitFor();
    await inspect(page, "reverse-done");
  });

  test("a balance is asked for, and arrives by itself", async (page, place) => {
    await signInWithKey(page, place);
    await page.goto(`${place.base}/console/balance`);
    await page.getByRole("button", { name: "Ask now about M-Pesa" }).click();
    await page.getByText("The provider was asked.").waitFor();
    await inspect(page, "balance-asked");
    await page.getByText("The provider answered.").waitFor();
    await page.getByRole("rowheader", { name: "Utility Account" }).waitFor();
    await page.getByRole("button", { name: "Ask now about ClickPesa" }).click();
    await page.getByRole("status").getByText("The provider answered.").waitFor();
    for (const past of await page.getByText("Asked before").all()) await past.click();
    await page.getByText("Utility Account KES: available").first().waitFor();
    await inspect(page, "balance");
  });
});
