DROP TABLE balance_enquiries;
