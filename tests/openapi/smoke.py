"""What a partner's Python would do with the client that is generated from openapi.yaml, against a running service."""

import os
from typing import TypeVar
from uuid import UUID

from ussd_status_client import AuthenticatedClient
from ussd_status_client.api.m_pesa import read_mpesa_status_detailed
from ussd_status_client.api.status import find_transaction_statuses, list_events, list_transaction_status
from ussd_status_client.api.transactions import find_transaction, register_transaction
from ussd_status_client.api.webhooks import list_webhooks
from ussd_status_client.models import (
    BulkAnswer,
    BulkLookup,
    Error,
    ErrorCode,
    EventPage,
    EventType,
    Kind,
    MpesaDetailedAnswer,
    Registration,
    Status,
    StatusPage,
    TimelineEntryKind,
    TransactionAnswer,
    TransactionWithTimelineAnswer,
    WebhooksAnswer,
)

Answer = TypeVar("Answer")


def expect(kind: type[Answer], answer: object) -> Answer:
    assert isinstance(answer, kind), answer
    return answer


url = os.environ["USSD_STATUS_URL"]
client = AuthenticatedClient(base_url=url, token=os.environ["USSD_STATUS_KEY"])

registration = Registration(
    client_request_id="PYTHON-1",
    msisdn="0712345678",
    amount="1200.50",
    kind=Kind.B2C,
    conversation_id="AG_PYTHON_1",
)
registered = register_transaction.sync_detailed(client=client, body=registration)
assert registered.status_code == 201, registered
transaction = expect(TransactionAnswer, registered.parsed).transaction
assert transaction.status is Status.ACCEPTED
assert transaction.amount == 1200.50
assert transaction.msisdn == "254712345678"
identity = transaction.transaction_id

again = register_transaction.sync_detailed(client=client, body=registration)
assert again.status_code == 200, again
assert expect(TransactionAnswer, again.parsed).transaction.transaction_id == identity

page = expect(StatusPage, list_transaction_status.sync(client=client, transaction_id=identity))
assert page.transactions[0].client_request_id == "PYTHON-1"
assert page.pagination.total == 1
assert page.statistics is not None
assert page.statistics.by_currency["KES"].pending_transactions >= 1

one = expect(TransactionWithTimelineAnswer, find_transaction.sync(identity, client=client))
assert one.transaction.timeline[0].kind is TimelineEntryKind.REGISTERED

lookup = BulkLookup(transaction_ids=[identity], client_request_ids=["NOBODYS"])
bulk = expect(BulkAnswer, find_transaction_statuses.sync(client=client, body=lookup))
assert bulk.count == 1
assert bulk.not_found.client_request_ids == ["NOBODYS"]

mpesa = expect(MpesaDetailedAnswer, read_mpesa_status_detailed.sync(str(identity), client=client))
assert mpesa.data.status.value == "PENDING"
assert mpesa.data.final is False

events = expect(EventPage, list_events.sync(client=client, after=0, limit=10))
assert events.events[-1].transaction_id == identity
assert events.events[-1].type_ is EventType.TRANSACTION_REGISTERED
assert events.next_after == len(events.events)

assert expect(WebhooksAnswer, list_webhooks.sync(client=client)).webhooks == []

nobodys = find_transaction.sync_detailed(UUID("01a1fc7f-dc62-7089-83d4-a3d6e2490965"), client=client)
assert nobodys.status_code == 404, nobodys
assert expect(Error, nobodys.parsed).error_code is ErrorCode.NOT_FOUND_1001

stranger = AuthenticatedClient(base_url=url, token="us_wrong")
refused = list_transaction_status.sync_detailed(client=stranger)
assert refused.status_code == 401, refused
assert expect(Error, refused.parsed).error_code is ErrorCode.AUTH_1002

print("the Python client: asked and answered")
