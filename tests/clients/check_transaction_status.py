import requests

def check_transaction_status(conversation_id, api_key):
    url = f"https://your-domain.com/api/ussd/transaction-status"
    headers = {
        'x-api-key': api_key,
        'Content-Type': 'application/json'
    }
    params = {
        'conversation_id': conversation_id
    }
    
    response = requests.get(url, headers=headers, params=params)
    data = response.json()
    
    if data['success']:
        return data['transactions'][0]  # First transaction
    else:
        raise Exception(data['error'])

# Usage
transaction = check_transaction_status('AG_20250110_1234567890', 'your-api-key')
print(f"Transaction status: {transaction['status']}")
