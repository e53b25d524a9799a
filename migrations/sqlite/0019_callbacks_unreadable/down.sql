DROP INDEX IF EXISTS callbacks_unreadable;
