-- The first schema (safe while instances run: there are none before it). Every key and index begins with partner_id where a statement can name one, so that one
-- partner's burst stays its own and a sharded PostgreSQL stays possible.

CREATE TABLE partners (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL,
    currency TEXT NOT NULL,
    suspended_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE api_keys (
    id UUID PRIMARY KEY,
    partner_id UUID NOT NULL REFERENCES partners (id),
    prefix TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    expires_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX api_keys_of_partner ON api_keys (partner_id);

CREATE TABLE provider_accounts (
    id UUID PRIMARY KEY,
    partner_id UUID NOT NULL REFERENCES partners (id),
    provider TEXT NOT NULL CHECK (provider IN ('mpesa', 'clickpesa')),
    environment TEXT NOT NULL CHECK (environment IN ('sandbox', 'production')),
    shortcode TEXT,
    till_number TEXT,
    callback_token TEXT NOT NULL UNIQUE,
    sealed_credentials BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    removed_at TIMESTAMPTZ
);
CREATE INDEX provider_accounts_of_partner ON provider_accounts (partner_id);

CREATE TABLE endpoints (
    id UUID PRIMARY KEY,
    partner_id UUID NOT NULL REFERENCES partners (id),
    url TEXT NOT NULL,
    events TEXT NOT NULL,
    description TEXT,
    sealed_secret BYTEA NOT NULL,
    disabled_at TIMESTAMPTZ,
    removed_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX endpoints_of_partner ON endpoints (partner_id);

-- One row a partner: the last sequence of its feed. A writer locks it first, so that a partner's ledger has one
-- writer at a time and sequences follow commit order without a gap.
CREATE TABLE feed_heads (
    partner_id UUID PRIMARY KEY,
    last_sequence BIGINT NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE transactions (
    partner_id UUID NOT NULL,
    id UUID NOT NULL,
    account_id UUID,
    provider TEXT NOT NULL CHECK (provider IN ('mpesa', 'clickpesa')),
    kind TEXT NOT NULL CHECK (kind IN ('stk_push', 'b2c', 'c2b', 'reversal', 'ussd_push', 'payout')),
    origin TEXT NOT NULL,
    client_request_id TEXT,
    conversation_id TEXT,
    originator_conversation_id TEXT,
    order_reference TEXT,
    registered_ids INTEGER NOT NULL,
    merchant_request_id TEXT,
    msisdn TEXT,
    payer_key TEXT,
    currency TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    paid_minor BIGINT,
    account_reference TEXT,
    tenant_id TEXT,
    customer_id TEXT,
    original_id UUID,
    status TEXT NOT NULL CHECK (status IN ('queued', 'accepted', 'success', 'failed')),
    unconfirmed BOOLEAN NOT NULL,
    result_code TEXT,
    result_description TEXT,
    provider_status TEXT,
    receipt TEXT,
    reversed_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (partner_id, id)
) WITH (fillfactor = 90);
-- No index on status: updates stay heap-only, and the two side tables below find what is open or failed.
CREATE UNIQUE INDEX transactions_by_client_request ON transactions (partner_id, client_request_id)
    WHERE client_request_id IS NOT NULL;
CREATE INDEX transactions_by_age ON transactions (partner_id, created_at DESC, id DESC);
CREATE INDEX transactions_by_msisdn ON transactions (partner_id, msisdn, created_at DESC, id DESC)
    WHERE msisdn IS NOT NULL;

-- Where a provider's id or a receipt leads. Ids are unique per partner, provider and field because they are
-- written under the partner's lock only; a receipt may lead to two rows (a prompt that was also told as C2B).
CREATE TABLE routes (
    partner_id UUID NOT NULL,
    value TEXT NOT NULL,
    field TEXT NOT NULL,
    provider TEXT NOT NULL,
    transaction_id UUID NOT NULL,
    PRIMARY KEY (partner_id, value, field, provider, transaction_id)
);
CREATE INDEX routes_by_value ON routes (value);

-- What may still change: not final, or a failure that waits to be confirmed.
CREATE TABLE open_transactions (
    partner_id UUID NOT NULL,
    status TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    transaction_id UUID NOT NULL,
    ask_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (partner_id, status, created_at, transaction_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX open_transactions_to_ask ON open_transactions (ask_at);

CREATE TABLE failed_transactions (
    partner_id UUID NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    transaction_id UUID NOT NULL,
    PRIMARY KEY (partner_id, created_at, transaction_id)
);

-- The timeline of every transaction; rows with a sequence are the partner's feed.
CREATE TABLE transaction_events (
    partner_id UUID NOT NULL,
    transaction_id UUID NOT NULL,
    id UUID NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    kind TEXT NOT NULL,
    from_status TEXT,
    to_status TEXT,
    source TEXT NOT NULL,
    result_code TEXT,
    note TEXT,
    sequence BIGINT,
    conversation_id TEXT,
    client_request_id TEXT,
    result_description TEXT,
    receipt TEXT,
    amount_minor BIGINT,
    currency TEXT,
    msisdn TEXT,
    reversed_at TIMESTAMPTZ,
    PRIMARY KEY (partner_id, transaction_id, id)
);
CREATE UNIQUE INDEX transaction_events_feed ON transaction_events (partner_id, sequence)
    WHERE sequence IS NOT NULL;
CREATE INDEX transaction_events_by_age ON transaction_events USING brin (at);

-- Counts and sums that change in the same commit as the rows they count. `ends_at` is the end of the hour or day
-- in which a transaction was created; of the totals it is the epoch.
CREATE TABLE counters (
    partner_id UUID NOT NULL,
    period TEXT NOT NULL CHECK (period IN ('total', 'day', 'hour')),
    ends_at TIMESTAMPTZ NOT NULL,
    currency TEXT NOT NULL,
    status TEXT NOT NULL,
    is_reversal BOOLEAN NOT NULL,
    n BIGINT NOT NULL,
    amount_minor BIGINT NOT NULL,
    PRIMARY KEY (partner_id, period, ends_at, currency, status, is_reversal)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE INDEX counters_of_hours ON counters (ends_at) WHERE period = 'hour';

-- The inbox: every callback as it came.
CREATE TABLE callbacks (
    id UUID PRIMARY KEY,
    partner_id UUID,
    account_id UUID,
    provider TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    transaction_id UUID,
    received_at TIMESTAMPTZ NOT NULL,
    source TEXT,
    content_type TEXT,
    digest TEXT NOT NULL,
    body BYTEA NOT NULL,
    note TEXT,
    news TEXT
);
CREATE INDEX callbacks_by_age ON callbacks USING brin (received_at);

-- Callbacks whose id nobody knows yet, by that id.
CREATE TABLE waiting_callbacks (
    partner_id UUID NOT NULL,
    value TEXT NOT NULL,
    callback_id UUID NOT NULL,
    PRIMARY KEY (partner_id, value, callback_id)
);
CREATE INDEX waiting_callbacks_by_callback ON waiting_callbacks (callback_id);

-- The outbox. A dead letter is a state.
CREATE TABLE deliveries (
    partner_id UUID NOT NULL,
    id UUID NOT NULL,
    endpoint_id UUID NOT NULL,
    transaction_id UUID NOT NULL,
    sequence BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts INTEGER NOT NULL,
    due_at TIMESTAMPTZ NOT NULL,
    is_leased BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ,
    PRIMARY KEY (partner_id, id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX deliveries_due ON deliveries (partner_id, endpoint_id, due_at) WHERE state = 'pending';
CREATE INDEX deliveries_in_order ON deliveries (partner_id, endpoint_id, transaction_id, sequence)
    WHERE state = 'pending';
CREATE INDEX deliveries_by_age ON deliveries USING brin (created_at);

CREATE TABLE delivery_attempts (
    partner_id UUID NOT NULL,
    delivery_id UUID NOT NULL,
    number INTEGER NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    duration_ms BIGINT NOT NULL,
    status INTEGER,
    error TEXT,
    response TEXT,
    PRIMARY KEY (partner_id, delivery_id, number)
);
CREATE INDEX delivery_attempts_by_age ON delivery_attempts USING brin (at);

CREATE TABLE balances (
    partner_id UUID NOT NULL,
    account_id UUID NOT NULL,
    name TEXT NOT NULL,
    currency TEXT NOT NULL,
    current_minor BIGINT,
    available_minor BIGINT,
    reserved_minor BIGINT,
    uncleared_minor BIGINT,
    checked_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (partner_id, account_id, name)
);

CREATE TABLE audit_log (
    id UUID PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    partner_id UUID,
    subject TEXT NOT NULL
);
