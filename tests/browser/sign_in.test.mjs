// Signing in and out, and what the first page weighs.
import assert from "node:assert/strict";
import { inspect, pages, signInAsOperator, signInWithKey } from "./browser.mjs";

/** Bytes that the first page may take over the wire, its script and style included. */
const FIRST_PAGE_MAX = 60_000;

pages("signing in", ({ test }) => {
  test("a partner signs in with its key and out again", async (page, place) => {
    await page.goto(`${place.base}/console`);
    assert.equal(page.url(), `${place.base}/console/sign-in`);
    await inspect(page, "sign-in");
    await signInWithKey(page, place);
    await page.getByText("Duka Nairobi").waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.waitForURL(`${place.base}/console/sign-in`);
    await page.goto(`${place.base}/console`);
    assert.equal(page.url(), `${place.base}/console/sign-in`);
  });

  test("a wrong key is told, and a wrong password", async (page, place) => {
    await page.goto(`${place.base}/console/sign-in`);
    await page.getByLabel("API key").fill("us_wrong");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").getByText("Invalid API key").waitFor();
    await page.getByText("Sign in as operator").first().click();
    await page.getByLabel("Name").fill("asha");
    await page.getByLabel("Password").fill("something else");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").getByText("The name or the password is wrong").waitFor();
    await inspect(page, "sign-in-refused");
    // The browser itself writes an answer of 401 on its console.
    page.problems.splice(0).forEach((problem) => assert.match(problem, /401/));
  });

  test("an operator chooses a partner", async (page, place) => {
    await signInAsOperator(page, place);
    await page.getByRole("link", { name: /Partner all/ }).click();
    await inspect(page, "partners");
    await page.getByRole("button", { name: "Look at Duka Dodoma" }).click();
    await page.getByRole("status").getByText("You see Duka Dodoma now.").waitFor();
    await page.reload();
    assert.equal(await page.getByText("You see Duka Dodoma now.").count(), 0);
  });

  test("the first page is light: one script, one style, and under 60 KB", async (page, place) => {
    const session = await page.context().newCDPSession(page);
    await session.send("Network.enable");
    let bytes = 0;
    const requests = [];
    session.on("Network.loadingFinished", (event) => (bytes += event.encodedDataLength));
    page.on("request", (request) => requests.push(request));
    await signInWithKey(page, place);
    await page.waitForLoadState("networkidle");
    const of = (type) => requests.filter((request) => request.resourceType() === type).length;
    // Both pages together, of which the second takes script and style out of the browser's memory.
    assert.ok(bytes > 0 && bytes < FIRST_PAGE_MAX, `${bytes} bytes`);
    assert.equal(of("script"), 2);
    assert.equal(of("stylesheet"), 2);
    assert.ok(requests.every((request) => request.url().startsWith(place.base)));
    const keyboard = await page.evaluate(() => document.querySelector(".skip").getAttribute("href"));
    assert.equal(keyboard, "#main");
  });
});
