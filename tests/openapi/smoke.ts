// What a partner's TypeScript would do with the client that is generated from openapi.yaml, against a running service.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./ussd-status.d.ts";

function setting(name: string): string {
  const value = process.env[name];
  assert(value, `${name} is not set`);
  return value;
}

const baseUrl = setting("USSD_STATUS_URL");
const client = createClient<paths>({ baseUrl, headers: { "x-api-key": setting("USSD_STATUS_KEY") } });
const stranger = createClient<paths>({ baseUrl });

const registration: components["schemas"]["Registration"] = {
  client_request_id: "TYPESCRIPT-1",
  msisdn: "0712345678",
  amount: "1200.50",
  kind: "b2c",
  conversation_id: "AG_TYPESCRIPT_1",
};
const registered = await client.POST("/api/ussd/transactions", { body: registration });
assert.equal(registered.response.status, 201);
assert(registered.data);
const { transaction } = registered.data;
assert.equal(transaction.status satisfies components["schemas"]["Status"], "accepted");
assert.equal(transaction.amount, 1200.5);
assert.equal(transaction.msisdn, "254712345678");
const id = transaction.transaction_id;

const again = await client.POST("/api/ussd/transactions", { body: registration });
assert.equal(again.response.status, 200);
assert.equal(again.data?.transaction.transaction_id, id);

const page = await client.GET("/api/ussd/transaction-status", { params: { query: { transaction_id: id } } });
assert.equal(page.data?.transactions[0]?.client_request_id, "TYPESCRIPT-1");
assert.equal(page.data.pagination.total, 1);
assert.equal(page.data.statistics?.by_currency["KES"]?.pending_transactions, 1);

const one = await client.GET("/api/ussd/transactions/{id}", { params: { path: { id } } });
assert.equal(one.data?.transaction.timeline[0]?.kind, "registered");

const bulk = await client.POST("/api/ussd/transaction-status", {
  body: { transaction_ids: [id], client_request_ids: ["NOBODYS"] },
});
assert.equal(bulk.data?.count, 1);
assert.deepEqual(bulk.data.not_found.client_request_ids, ["NOBODYS"]);

const mpesa = await client.GET("/api/v1/mpesa/status-detailed/{id}", { params: { path: { id } } });
assert.equal(mpesa.data?.data.status, "PENDING");
assert.equal(mpesa.data.data.final, false);

const events = await client.GET("/api/ussd/events", { params: { query: { after: 0, limit: 10 } } });
assert.equal(events.data?.events[0]?.transaction_id, id);
assert.equal(events.data.events[0].type, "transaction.registered");
assert.equal(events.data.next_after, events.data.events.length);

const webhooks = await client.GET("/api/ussd/webhooks");
assert.deepEqual(webhooks.data?.webhooks, []);

const nobodys = await client.GET("/api/ussd/transactions/{id}", {
  params: { path: { id: "01a1fc7f-dc62-7089-83d4-a3d6e2490965" } },
});
assert.equal(nobodys.response.status, 404);
assert.equal(nobodys.error?.error_code, "NOT_FOUND_1001");

const refused = await stranger.GET("/api/ussd/transaction-status");
assert.equal(refused.response.status, 401);
assert.equal(refused.error?.error_code, "AUTH_1001");
assert.equal(refused.error.success, false);

console.log("the TypeScript client: asked and answered");
