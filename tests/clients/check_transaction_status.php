<?php
function checkTransactionStatus($conversationId, $apiKey) {
    $url = "https://your-domain.com/api/ussd/transaction-status";
    $params = http_build_query(['conversation_id' => $conversationId]);
    
    $context = stream_context_create([
        'http' => [
            'method' => 'GET',
            'header' => [
                'x-api-key: ' . $apiKey,
                'Content-Type: application/json'
            ]
        ]
    ]);
    
    $response = file_get_contents($url . '?' . $params, false, $context);
    $data = json_decode($response, true);
    
    if ($data['success']) {
        return $data['transactions'][0]; // First transaction
    } else {
        throw new Exception($data['error']);
    }
}

// Usage
try {
    $transaction = checkTransactionStatus('AG_20250110_1234567890', 'your-api-key');
    echo "Transaction status: " . $transaction['status'];
} catch (Exception $e) {
    echo "Error: " . $e->getMessage();
}
?>
