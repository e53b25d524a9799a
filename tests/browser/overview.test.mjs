// The figures: a chart that is a table too, and what is open.
import assert from "node:assert/strict";
import { inspect, pages, signInAsOperator, signInWithKey } from "./browser.mjs";

pages("overview", ({ test }) => {
  test("what was paid is drawn, told and listed", async (page, place) => {
    const endings = ["5678", "5679", "5680", "0001", "1032", "0006"];
    const made = await Promise.all(
      endings.map((ending, index) =>
        place.api("/api/ussd/payments", {
          provider: index === 2 ? "clickpesa" : "mpesa",
          kind: index === 2 ? "ussd_push" : "stk_push",
          msisdn: `${index === 2 ? "255" : "254"}71234${ending}`,
          amount: 1000 + index,
          client_request_id: `FIGURE-${page.width}-${index}`,
        }),
      ),
    );
    for (const one of made.slice(0, 5)) {
      await place.api(`/api/ussd/transaction-status?transaction_id=${one.body.transaction.transaction_id}&wait=20`);
    }
    await signInWithKey(page, place);
    await page.locator(".tile", { hasText: "Payments" }).getByText("6", { exact: true }).waitFor();
    const chart = page.getByRole("img", { name: /Volume and success rate/ });
    assert.ok((await chart.locator("rect").count()) >= 3);
    await inspect(page, "overview");
    await page.getByText("The same as a table").click();
    await page.getByRole("table").first().waitFor();
    await page.getByRole("link", { name: "30 days" }).click();
    await page.getByRole("heading", { name: /by day/ }).waitFor();
    await inspect(page, "overview-30d");
  });

  test("an operator sees everybody's figures", async (page, place) => {
    await signInAsOperator(page, place);
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    await inspect(page, "overview-of-all");
  });
});
