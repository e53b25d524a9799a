-- An event goes to an endpoint once; also how an endpoint's deliveries are listed. A file that has it from 0004 passes over it.
CREATE UNIQUE INDEX IF NOT EXISTS deliveries_of_endpoint ON deliveries (partner_id, endpoint_id, sequence);
