-- Callbacks that could not be understood. A file that has it from 0008 passes over it.
CREATE INDEX IF NOT EXISTS callbacks_unreadable ON callbacks (id)
    WHERE state = 'unreadable';
