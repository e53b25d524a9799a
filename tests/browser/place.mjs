// The real program and the simulator on this machine, each test file with its own: a partner with an account at both
// providers, a key that may do everything, an operator, and a webhook receiver that answers as it is told.
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const PROGRAM = process.env.USSD_STATUS;
export const PASSWORD = "correct horse battery";

const SCOPES = ["status:read", "payments:write", "webhooks:write", "msisdn:reveal"];

/** Starts everything; `end()` stops it and removes its folder. */
export async function open() {
  const folder = mkdtempSync(join(tmpdir(), "ussd-status-browser-"));
  const environment = {
    PATH: process.env.PATH,
    DATABASE_URL: `sqlite://${join(folder, "test.db")}`,
    MASTER_KEY: randomBytes(32).toString("base64"),
    WEBHOOK_ALLOW_PRIVATE: "true",
    CALLBACK_ALLOWED_IPS: "127.0.0.1",
    RATE_LIMIT_GET: "100000",
    RATE_LIMIT_POST: "100000",
    RATE_LIMIT_WRITE: "100000",
    LOG_FORMAT: "json",
    RUST_LOG: "info",
  };
  const children = [];
  const start = (args, pattern) =>
    new Promise((resolve, reject) => {
      const child = spawn(PROGRAM, args, { cwd: folder, env: environment, stdio: ["ignore", "pipe", "pipe"] });
      children.push(child);
      let said = "";
      for (const stream of [child.stdout, child.stderr]) {
        createInterface({ input: stream }).on("line", (line) => {
          said += `${line}\n`;
          const found = pattern.exec(line);
          if (found) resolve(found[1]);
        });
      }
      child.on("exit", (code) => reject(new Error(`${args[0]} ended with ${code}:\n${said}`)));
    });
  /** Runs a command to its end; its one JSON object. */
  const run = (args, input = "") =>
    JSON.parse(execFileSync(PROGRAM, [...args, "--json"], { cwd: folder, env: environment, input, encoding: "utf8" }));

  const simulator = await start(
    ["simulator", "--listen", "127.0.0.1:0", "--min-delay", "1800ms", "--max-delay", "2000ms"],
    /simulator (http:\/\/[^/]+)\/simulator/,
  );
  environment.MPESA_BASE_URL = simulator;
  environment.CLICKPESA_BASE_URL = simulator;
  const partner = run(["partner", "create", "--name", "Duka Nairobi"]);
  const other = run(["partner", "create", "--name", "Duka Dodoma", "--currency", "TZS"]);
  const scopes = SCOPES.flatMap((scope) => ["--scope", scope]);
  const key = run(["key", "create", "--partner", partner.id, ...scopes]).api_key;
  run(["console-user", "create", "--name", "asha"], `${PASSWORD}\n`);
  const account = (provider, credentials) =>
    run(
      ["account", "create", "--partner", partner.id, "--provider", provider, "--credentials", "-"],
      JSON.stringify(credentials),
    );
  const certificate = join(process.env.FIXTURES, "keys/mpesa-test-certificate.pem");
  const mpesa = account("mpesa", {
    environment: "sandbox",
    shortcode: "600966",
    consumer_key: "mine",
    consumer_secret: "secret",
    passkey: "passkey",
    initiator_name: "api",
    initiator_password: "password",
    certificate: readFileSync(certificate, "utf8"),
  });
  const clickpesa = account("clickpesa", { environment: "sandbox", client_id: "mine", api_key: "key" });
  const receiver = await openReceiver();
  const endpoint = run(["webhook", "create", "--partner", partner.id, "--url", `${receiver.url}/hook`]);
  const address = await start(["serve", "--listen", "127.0.0.1:0"], /"address":"([0-9.:]+)"/);
  const base = `http://${address}`;
  await fetch(`${simulator}/simulator/clickpesa/webhook`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ client_id: "mine", url: `${base}/callbacks/${clickpesa.callback_token}/clickpesa` }),
  });
  /** A call of the API with the partner's key. */
  const api = async (path, body) => {
    const answer = await fetch(`${base}${path}`, {
      method: body ? "POST" : "GET",
      headers: { "x-api-key": key, "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    return { status: answer.status, body: await answer.json() };
  };
  const end = async () => {
    for (const child of children) {
      child.removeAllListeners("exit");
      child.kill("SIGTERM");
    }
    await Promise.all(children.map((child) => child.exitCode ?? new Promise((done) => child.once("exit", done))));
    await receiver.close();
    rmSync(folder, { recursive: true, force: true });
  };
  return { base, simulator, partner, other, key, mpesa, endpoint, receiver, api, run, end };
}

/** A webhook receiver: answers every post with `status`, and remembers what came. */
async function openReceiver() {
  const receiver = { status: 200, received: [] };
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += chunk));
    request.on("end", () => {
      receiver.received.push({ headers: request.headers, body });
      response.writeHead(receiver.status).end("noted");
    });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  receiver.url = `http://127.0.0.1:${server.address().port}`;
  receiver.close = () => new Promise((done) => server.close(done));
  return receiver;
}
