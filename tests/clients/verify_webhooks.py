"""Reads {"secret", "messages": [{"headers", "body"}]} from standard input, and says of each message whether the
official Standard Webhooks library believes it."""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

given = json.load(sys.stdin)
webhook = Webhook(given["secret"])
for message in given["messages"]:
    try:
        event = webhook.verify(message["body"], message["headers"])
        print("verified", event["type"])
    except WebhookVerificationError as error:
        print("refused", error)
