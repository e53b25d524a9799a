// Asking a customer to pay: every ending has its own words, and arrives by itself.
import assert from "node:assert/strict";
import { inspect, pages, signInAsOperator, signInWithKey } from "./browser.mjs";

/** Fills in the details and goes on to the check. */
async function fill(page, place, { provider = "M-Pesa", phone, amount = "1200", reference = "INV-7" }) {
  await page.goto(`${place.base}/console/pay`);
  await page.getByRole("radio", { name: provider }).check();
  await page.getByLabel("Phone number").pressSequentially(phone);
  await page.getByLabel("Amount").fill(amount);
  await page.getByLabel("Reference").fill(reference);
  await page.getByRole("button", { name: "Continue" }).click();
}

const ENDINGS = [
  ["0001", "Not enough money", "Ask the customer to top up"],
  ["1032", "Cancelled", "trying again is safe"],
  ["1037", "Timed out", "Wait a minute before you ask again"],
  ["0408", "Timed out", "See that the phone is on"],
  ["2001", "Wrong PIN", "take care with the PIN"],
];

pages("paying", ({ test }) => {
  test("three steps to a success that arrives live", async (page, place) => {
    await signInWithKey(page, place);
    await page.goto(`${place.base}/console/pay`);
    await inspect(page, "pay");
    const phone = page.getByLabel("Phone number");
    await phone.pressSequentially("0712345678");
    assert.equal(await phone.inputValue(), "0712 345 678");
    await fill(page, place, { phone: "+254712345678" });
    await page.getByText("+254 712 345 678").waitFor();
    await inspect(page, "pay-check");
    await page.getByRole("button", { name: "Send the prompt" }).click();
    await page.getByRole("heading", { name: "Sent to the phone" }).waitFor();
    await inspect(page, "pay-sent");
    await page.getByRole("heading", { name: "Paid" }).waitFor();
    await page.locator(".progress").getByText(/^Receipt /).waitFor();
    await inspect(page, "pay-paid");
  });

  for (const [ending, title, todo] of ENDINGS) {
    test(`a number ending in ${ending} ends as "${title}"`, async (page, place) => {
      await signInWithKey(page, place);
      await fill(page, place, { phone: `071234${ending}` });
      await page.getByRole("button", { name: "Send the prompt" }).click();
      await page.getByRole("heading", { name: title }).waitFor();
      await page.getByText(todo).waitFor();
      await inspect(page, `pay-${ending}`);
    });
  }

  test("a refusal at once is told with the provider's words", async (page, place) => {
    await signInWithKey(page, place);
    await fill(page, place, { phone: "0712340007" });
    await page.getByRole("button", { name: "Send the prompt" }).click();
    await page.getByRole("heading", { name: "Failed" }).waitFor();
    await page.getByText(/lock subscriber/i).waitFor();
  });

  test("ClickPesa tells its fee before it asks", async (page, place) => {
    await signInWithKey(page, place);
    await fill(page, place, { provider: "ClickPesa", phone: "0712345678", amount: "15000" });
    await page.getByText(/fee \d/).first().waitFor();
    await inspect(page, "pay-check-clickpesa");
    await page.getByRole("button", { name: "Send the prompt" }).click();
    await page.getByRole("heading", { name: "Paid" }).waitFor();
  });

  test("ClickPesa's failures have words of their own too", async (page, place) => {
    await signInWithKey(page, place);
    await fill(page, place, { provider: "ClickPesa", phone: "0712340001", amount: "15000" });
    await page.getByRole("button", { name: "Send the prompt" }).click();
    await page.getByRole("heading", { name: "Not enough money" }).waitFor();
  });

  test("what is wrong is said at the field", async (page, place) => {
    await signInWithKey(page, place);
    await fill(page, place, { phone: "0712345678", amount: "0" });
    await page.getByRole("alert").getByText("amount").waitFor();
    assert.equal(await page.getByLabel("Amount").getAttribute("aria-invalid"), "true");
    assert.equal(await page.getByLabel("Phone number").inputValue(), "0712 345 678");
    await inspect(page, "pay-wrong");
    page.problems.splice(0).forEach((problem) => assert.match(problem, /400/));
  });

  test("an operator chooses for whom first", async (page, place) => {
    await signInAsOperator(page, place);
    await page.goto(`${place.base}/console/pay`);
    await page.getByText("Choose the partner first").waitFor();
    page.problems.splice(0).forEach((problem) => assert.match(problem, /409/));
    await page.getByRole("link", { name: "Choose a partner" }).click();
    await page.getByRole("button", { name: "Look at Duka Nairobi" }).click();
    await fill(page, place, { phone: "0712345678" });
    await page.getByText("+254 712 345 678").waitFor();
  });
});
