const checkTransactionStatus = async (conversationId, apiKey) => {
  try {
    const response = await fetch(
      `https://your-domain.com/api/ussd/transaction-status?conversation_id=${conversationId}`,
      {
        headers: {
          'x-api-key': apiKey,
          'Content-Type': 'application/json'
        }
      }
    );
    
    const data = await response.json();
    
    if (data.success) {
      return data.transactions[0]; // First transaction
    } else {
      throw new Error(data.error);
    }
  } catch (error) {
    console.error('Error checking transaction status:', error);
    throw error;
  }
};

// Usage
const transaction = await checkTransactionStatus('AG_20250110_1234567890', 'your-api-key');
console.log('Transaction status:', transaction.status);
