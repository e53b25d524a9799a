DROP TABLE created_by_minute;
