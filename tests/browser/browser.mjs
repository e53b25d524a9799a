// Chromium, driven without a screen: each test runs at the width of a phone and of a desk, and fails on any error on the
// console, any violation of the policy and any serious finding of axe.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { chromium } from "playwright-core";
import { PASSWORD, open } from "./place.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SHOTS = process.env.BROWSER_SHOTS;
const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** What a first visit may weigh, bytes, as the service's own tests have it. */
const FIRST_VISIT_MAX = 60_000;
const WIDTHS = process.env.BROWSER_SIZE === "all" ? [390, 1280] : [1280];

/** Tests of one kind of page: `tests(context)` declares them with `context.test(name, async (page, place) => …)`. */
export function pages(name, tests) {
  for (const width of WIDTHS) {
    describe(`${name} at ${width} px`, () => {
      const context = { width };
      before(async () => {
        context.place = await open();
        context.browser = await chromium.launch({ executablePath: EXECUTABLE, args: FLAGS });
      });
      after(async () => {
        await context.browser?.close();
        await context.place?.end();
      });
      context.test = (title, run) =>
        test(title, async () => {
          const looking = await look(context);
          try {
            await run(looking.page, context.place);
            assert.deepEqual(looking.problems, [], "the browser complained");
          } finally {
            await looking.page.context().close();
          }
        });
      tests(context);
    });
  }
}

async function look({ browser, width }, options = {}) {
  const height = width < 600 ? 844 : 900;
  const context = await browser.newContext({ viewport: { width, height }, locale: "en-GB", ...options });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  const problems = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("requestfailed", (request) => {
    // A stream or a wait that ends because its page was left is no failure.
    if (request.failure()?.errorText !== "net::ERR_ABORTED") problems.push(`${request.url()} failed`);
  });
  page.width = width;
  page.problems = problems;
  return { page, problems };
}

/** Signs in with an API key. */
export async function signInWithKey(page, place, key = place.key) {
  await page.goto(`${place.base}/console/sign-in`);
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Sign in with the key" }).click();
  await page.waitForURL(`${place.base}/console`);
}

/** Signs in as operator. */
export async function signInAsOperator(page, place) {
  await page.goto(`${place.base}/console/sign-in`);
  await page.getByText("Sign in as operator").first().click();
  await page.getByLabel("Name").fill("asha");
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in as operator" }).click();
  await page.waitForURL(`${place.base}/console`);
}

/** What the page asked for besides itself: one script, one stylesheet, and together no more than a first visit may weigh. */
async function weigh(page, name) {
  const asked = await page.evaluate(() => {
    const [self] = performance.getEntriesByType("navigation");
    const all = performance.getEntriesByType("resource");
    const own = (ending) => all.filter((one) => new URL(one.name).pathname.endsWith(ending));
    return {
      scripts: own(".js").length,
      styles: own(".css").length,
      bytes: [self, ...own(".js"), ...own(".css"), ...own(".svg")].reduce((sum, one) => sum + one.encodedBodySize, 0),
    };
  });
  assert.deepEqual([asked.scripts, asked.styles], [1, 1], `${name} asks for one script and one stylesheet`);
  assert.ok(asked.bytes > 0 && asked.bytes <= FIRST_VISIT_MAX, `${name} weighs ${asked.bytes} bytes`);
}

/** Lets axe look, and takes a picture in daylight and in the dark; no page may be wider than the window. */
export async function inspect(page, name) {
  await weigh(page, name);
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
    // Not as a script of the page, which the policy forbids.
    await page.evaluate(AXE);
    const found = await page.evaluate(() =>
      globalThis.axe.run(document, {
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
      }),
    );
    const serious = found.violations.filter((one) => ["serious", "critical"].includes(one.impact));
    const told = serious.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`);
    assert.deepEqual(told, [], `axe on ${name} (${scheme})`);
    if (SHOTS) {
      mkdirSync(SHOTS, { recursive: true });
      await page.screenshot({ path: join(SHOTS, `${name}-${page.width}-${scheme}.png`), fullPage: true });
    }
  }
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "no-preference" });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(overflow <= 0, `${name} is ${overflow} px wider than the window`);
}
