//! Where a partner's rows hold a phone number, table by table.

use crate::store::ErasedTable;

/// What is gone through in one table.
pub(super) struct Place {
    pub table: &'static str,
    /// Its key within a partner; the second part is a number or an id.
    pub key: &'static [&'static str],
    pub is_counted: bool,
    /// Which transaction a row is of.
    pub transaction: &'static str,
    /// Columns that hold the number alone, or something else: emptied.
    pub values: &'static [&'static str],
    /// Columns of text in which the number is blanked.
    pub texts: &'static [&'static str],
    pub has_body: bool,
    /// Columns of ids that may be made of the number. They stay: a late callback, the provider and the partner know the
    /// transaction by them.
    pub ids: &'static [&'static str],
    pub partner: &'static str,
}

const WHOLE: Place = Place {
    table: "",
    key: &["id"],
    is_counted: false,
    transaction: "transaction_id",
    values: &[],
    texts: &[],
    has_body: false,
    ids: &[],
    partner: "partner_id = $1",
};

pub(super) fn place(table: ErasedTable) -> Place {
    match table {
        ErasedTable::Transactions => Place {
            table: "transactions",
            transaction: "id",
            values: &[
                "msisdn",
                "payer_key",
                "account_reference",
                "customer_id",
                "tenant_id",
            ],
            texts: &["result_description"],
            ids: &[
                "client_request_id",
                "conversation_id",
                "originator_conversation_id",
                "order_reference",
                "merchant_request_id",
            ],
            ..WHOLE
        },
        ErasedTable::Events => Place {
            table: "transaction_events",
            key: &["transaction_id", "id"],
            values: &["msisdn"],
            texts: &["note", "result_description"],
            ..WHOLE
        },
        ErasedTable::Payments => Place {
            table: "payments",
            key: &["transaction_id"],
            values: &["reference"],
            texts: &["message", "customer_message"],
            ..WHOLE
        },
        ErasedTable::Attempts => Place {
            table: "delivery_attempts",
            key: &["delivery_id", "number"],
            is_counted: true,
            transaction: "NULL",
            texts: &["error", "response"],
            ..WHOLE
        },
        ErasedTable::Callbacks => Place {
            table: "callbacks",
            texts: &["note"],
            has_body: true,
            // One that nobody's token or id claimed is nobody's, and may hold anybody's number.
            partner: "(partner_id = $1 OR partner_id IS NULL)",
            ..WHOLE
        },
    }
}
