//! Every table, once for both databases: ids and instants are SQL types of our own (see `columns`).
//! Written by hand and held against both databases by a test.

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    partners (id) {
        id -> IdSql,
        name -> Text,
        currency -> Text,
        suspended_at -> Nullable<InstantSql>,
        created_at -> InstantSql,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    api_keys (id) {
        id -> IdSql,
        partner_id -> IdSql,
        prefix -> Text,
        digest -> Text,
        scopes -> Text,
        expires_at -> Nullable<InstantSql>,
        revoked_at -> Nullable<InstantSql>,
        created_at -> InstantSql,
        last_used_at -> Nullable<InstantSql>,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    provider_accounts (id) {
        id -> IdSql,
        partner_id -> IdSql,
        provider -> Text,
        environment -> Text,
        shortcode -> Nullable<Text>,
        till_number -> Nullable<Text>,
        callback_token -> Text,
        sealed_credentials -> Binary,
        created_at -> InstantSql,
        removed_at -> Nullable<InstantSql>,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    endpoints (id) {
        id -> IdSql,
        partner_id -> IdSql,
        url -> Text,
        events -> Text,
        description -> Nullable<Text>,
        sealed_secret -> Binary,
        disabled_at -> Nullable<InstantSql>,
        removed_at -> Nullable<InstantSql>,
        created_at -> InstantSql,
        transaction_id -> Nullable<IdSql>,
        previous_sealed_secret -> Nullable<Binary>,
        previous_secret_until -> Nullable<InstantSql>,
        failing_since -> Nullable<InstantSql>,
        concurrency -> Integer,
        rate_per_second -> Nullable<Integer>,
        public_key -> Nullable<Text>,
        last_failure_at -> Nullable<InstantSql>,
        last_failure -> Nullable<Text>,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    payments (partner_id, transaction_id) {
        partner_id -> IdSql,
        transaction_id -> IdSql,
        account_id -> IdSql,
        digest -> Text,
        reference -> Nullable<Text>,
        outcome -> Nullable<Text>,
        code -> Nullable<Text>,
        message -> Nullable<Text>,
        customer_message -> Nullable<Text>,
        is_retryable -> Bool,
        created_at -> InstantSql,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    feed_heads (partner_id) {
        partner_id -> IdSql,
        last_sequence -> BigInt,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    transactions (partner_id, id) {
        partner_id -> IdSql,
        id -> IdSql,
        account_id -> Nullable<IdSql>,
        provider -> Text,
        kind -> Text,
        origin -> Text,
        client_request_id -> Nullable<Text>,
        conversation_id -> Nullable<Text>,
        originator_conversation_id -> Nullable<Text>,
        order_reference -> Nullable<Text>,
        registered_ids -> Integer,
        merchant_request_id -> Nullable<Text>,
        msisdn -> Nullable<Text>,
        payer_key -> Nullable<Text>,
        currency -> Text,
        amount_minor -> BigInt,
        paid_minor -> Nullable<BigInt>,
        account_reference -> Nullable<Text>,
        tenant_id -> Nullable<Text>,
        customer_id -> Nullable<Text>,
        original_id -> Nullable<IdSql>,
        status -> Text,
        unconfirmed -> Bool,
        result_code -> Nullable<Text>,
        result_description -> Nullable<Text>,
        provider_status -> Nullable<Text>,
        receipt -> Nullable<Text>,
        reversed_at -> Nullable<InstantSql>,
        created_at -> InstantSql,
        updated_at -> InstantSql,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    routes (partner_id, value, field, provider, transaction_id) {
        partner_id -> IdSql,
        value -> Text,
        field -> Text,
        provider -> Text,
        transaction_id -> IdSql,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    open_transactions (partner_id, status, created_at, transaction_id) {
        partner_id -> IdSql,
        status -> Text,
        created_at -> InstantSql,
        transaction_id -> IdSql,
        ask_at -> InstantSql,
        stuck_at -> Nullable<InstantSql>,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    failed_transactions (partner_id, created_at, transaction_id) {
        partner_id -> IdSql,
        created_at -> InstantSql,
        transaction_id -> IdSql,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    transaction_events (partner_id, transaction_id, id) {
        partner_id -> IdSql,
        transaction_id -> IdSql,
        id -> IdSql,
        at -> InstantSql,
        kind -> Text,
        from_status -> Nullable<Text>,
        to_status -> Nullable<Text>,
        source -> Text,
        result_code -> Nullable<Text>,
        note -> Nullable<Text>,
        sequence -> Nullable<BigInt>,
        conversation_id -> Nullable<Text>,
        client_request_id -> Nullable<Text>,
        result_description -> Nullable<Text>,
        receipt -> Nullable<Text>,
        amount_minor -> Nullable<BigInt>,
        currency -> Nullable<Text>,
        msisdn -> Nullable<Text>,
        reversed_at -> Nullable<InstantSql>,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    counters (partner_id, period, ends_at, currency, status, is_reversal) {
        partner_id -> IdSql,
        period -> Text,
        ends_at -> InstantSql,
        currency -> Text,
        status -> Text,
        is_reversal -> Bool,
        n -> BigInt,
        amount_minor -> BigInt,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    created_by_minute (partner_id, ends_at) {
        partner_id -> IdSql,
        ends_at -> InstantSql,
        n -> BigInt,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    callbacks (id) {
        id -> IdSql,
        partner_id -> Nullable<IdSql>,
        account_id -> Nullable<IdSql>,
        provider -> Text,
        kind -> Text,
        state -> Text,
        transaction_id -> Nullable<IdSql>,
        received_at -> InstantSql,
        source -> Nullable<Text>,
        content_type -> Nullable<Text>,
        digest -> Text,
        body -> Binary,
        note -> Nullable<Text>,
        news -> Nullable<Text>,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    waiting_callbacks (partner_id, value, callback_id) {
        partner_id -> IdSql,
        value -> Text,
        callback_id -> IdSql,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    deliveries (partner_id, id) {
        partner_id -> IdSql,
        id -> IdSql,
        endpoint_id -> IdSql,
        transaction_id -> IdSql,
        sequence -> BigInt,
        state -> Text,
        attempts -> Integer,
        due_at -> InstantSql,
        is_leased -> Bool,
        created_at -> InstantSql,
        finished_at -> Nullable<InstantSql>,
        replayed_at -> Nullable<InstantSql>,
        notice -> Nullable<Text>,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    delivery_attempts (partner_id, delivery_id, number) {
        partner_id -> IdSql,
        delivery_id -> IdSql,
        number -> Integer,
        at -> InstantSql,
        duration_ms -> BigInt,
        status -> Nullable<Integer>,
        error -> Nullable<Text>,
        response -> Nullable<Text>,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    balances (partner_id, account_id, name) {
        partner_id -> IdSql,
        account_id -> IdSql,
        name -> Text,
        currency -> Text,
        current_minor -> Nullable<BigInt>,
        available_minor -> Nullable<BigInt>,
        reserved_minor -> Nullable<BigInt>,
        uncleared_minor -> Nullable<BigInt>,
        checked_at -> InstantSql,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    balance_enquiries (partner_id, id) {
        partner_id -> IdSql,
        id -> IdSql,
        account_id -> IdSql,
        asked_by -> Text,
        asked_at -> InstantSql,
        answered_at -> Nullable<InstantSql>,
        told -> Nullable<Text>,
        failure -> Nullable<Text>,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    audit_log (id) {
        id -> IdSql,
        at -> InstantSql,
        actor -> Text,
        action -> Text,
        partner_id -> Nullable<IdSql>,
        subject -> Text,
        source -> Nullable<Text>,
        detail -> Nullable<Text>,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    operators (id) {
        id -> IdSql,
        name -> Text,
        password_hash -> Text,
        created_at -> InstantSql,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    sessions (digest) {
        digest -> Text,
        operator_id -> Nullable<IdSql>,
        key_id -> Nullable<IdSql>,
        partner_id -> Nullable<IdSql>,
        source -> Nullable<Text>,
        created_at -> InstantSql,
        seen_at -> InstantSql,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    copied_tables (name) {
        name -> Text,
        source -> Text,
        copied -> BigInt,
        copied_to -> Nullable<Text>,
        verified -> BigInt,
        verified_to -> Nullable<Text>,
        finished_at -> Nullable<InstantSql>,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    instances (id) {
        id -> IdSql,
        seen_at -> InstantSql,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    rate_limits (key_id, bucket) {
        key_id -> IdSql,
        bucket -> Text,
        full_at -> InstantSql,
        passed -> Bool,
    }
}

diesel::table! {
    use crate::store::columns::{IdSql, InstantSql};
    use diesel::sql_types::*;

    account_tokens (account_id) {
        account_id -> IdSql,
        sealed_token -> Nullable<Binary>,
        good_until -> Nullable<InstantSql>,
        fetching_until -> Nullable<InstantSql>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(partners, api_keys);
