"""A USSD menu that takes a payment and shows what became of it: complete, with Python's standard library only.

The gateway (Africa's Talking and others alike) posts sessionId, phoneNumber and text, all keys pressed so far joined by
"*", and shows what is answered: "CON ..." goes on, "END ..." closes the session.

    STATUS_URL=http://127.0.0.1:8080 API_KEY=us_... PORT=3000 python3 docs/ussd-menu.py
"""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STATUS_URL = os.environ.get("STATUS_URL", "http://127.0.0.1:8080")
API_KEY = os.environ["API_KEY"]
LANG = os.environ.get("MENU_LANG", "en")
# Gateways give up after some ten seconds.
WAIT_SECONDS = 7
GATEWAY_MS = 9_000

MENU = {"en": "CON Duka\n1. Pay\n2. My last payment", "sw": "CON Duka\n1. Lipa\n2. Malipo yangu ya mwisho"}
AMOUNT = {"en": "CON Enter the amount", "sw": "CON Weka kiasi"}
BYE = {"en": "END Thank you.", "sw": "END Asante."}
WRONG = {"en": "END That is not on the menu.", "sw": "END Hakuna chaguo hilo."}
AWAY = {
    "en": "END We cannot tell you now. Do not pay again; dial again soon.",
    "sw": "END Hatuwezi kukujulisha kwa sasa. Usilipe tena; piga tena baadaye.",
}


def call(path, body=None):
    """Asks the service; the status and the text it answers."""
    headers = {"x-api-key": API_KEY, "content-type": "application/json", "x-deadline-ms": str(GATEWAY_MS)}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(STATUS_URL + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=GATEWAY_MS / 1000) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def screen(wait=0, **filters):
    """The newest payment that matches, as the text to show."""
    query = urllib.parse.urlencode({**filters, "lang": LANG, "wait": wait})
    status, text = call(f"/api/ussd/transaction-status/screen?{query}")
    return text if status == 200 else AWAY[LANG]


def pay(payment, phone, amount):
    """Starts the payment and waits for its end. The same payment again, as gateways repeat requests, is the same one."""
    order = {"kind": "stk_push", "msisdn": phone, "amount": amount, "client_request_id": payment}
    status, _ = call("/api/ussd/payments", order)
    # 502: the provider refused; the screen says so in words for the customer.
    if status not in (200, 201, 202, 502):
        return WRONG[LANG] if status == 400 else AWAY[LANG]
    return screen(WAIT_SECONDS, client_request_id=payment)


def answer(session, phone, text):
    """The next screen of a session."""
    match text.split("*") if text else []:
        case []:
            return MENU[LANG]
        case ["1"]:
            return AMOUNT[LANG]
        case [*_, "0"] if text != "1*0":
            return BYE[LANG]
        case ["1", amount]:
            return pay(f"{session}-{amount}", phone, amount)
        case ["1", amount, *again] if set(again) == {"1"}:
            return screen(WAIT_SECONDS, client_request_id=f"{session}-{amount}")
        case ["2", *again] if set(again) <= {"1"}:
            return screen(WAIT_SECONDS if again else 0, msisdn=phone)
        case _:
            return WRONG[LANG]


class Gateway(BaseHTTPRequestHandler):
    """What the gateway posts to."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        form = dict(urllib.parse.parse_qsl(body, keep_blank_values=True))
        try:
            text = answer(form["sessionId"], form["phoneNumber"], form["text"])
        except OSError:
            text = AWAY[LANG]
        self.send_response(200)
        self.send_header("content-type", "text/plain; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        """Phone numbers do not belong in logs."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Gateway)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
