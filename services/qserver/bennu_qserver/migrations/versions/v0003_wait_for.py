"""`bennu.wait_for`: whoever queries reads their own write."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

WAIT_FOR = r"""
CREATE FUNCTION bennu.wait_for(token text, projection text DEFAULT NULL, timeout_ms integer DEFAULT 5000)
RETURNS boolean LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
    parts text[] := regexp_match(wait_for.token, '^([A-Za-z0-9_-]+):([0-9]{1,18})$');
    until timestamptz := clock_timestamp() + wait_for.timeout_ms * interval '1 millisecond';
    pause_s double precision := 0.002;
    readers bigint;
    behind bigint;
BEGIN
    IF parts IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('token %L is none', wait_for.token),
            HINT = 'Give what `bennu-position` of an answer said, such as bank-events-0:17.';
    END IF;
    IF wait_for.timeout_ms IS NULL OR wait_for.timeout_ms NOT BETWEEN 0 AND 60000 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('timeout_ms is %s', coalesce(wait_for.timeout_ms::text, 'NULL')),
            HINT = 'Give 0 to 60000 milliseconds.';
    END IF;
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE active_sql_transaction USING
            MESSAGE = format('bennu.wait_for can''t wait in a transaction that is %s: it would see no change',
                             current_setting('transaction_isolation')),
            HINT = 'Wait before the transaction begins, or use READ COMMITTED.';
    END IF;
    IF wait_for.projection IS NOT NULL
       AND NOT EXISTS (SELECT FROM bennu.positions p WHERE p.projection = wait_for.projection) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('no projection is called %L', wait_for.projection),
            HINT = 'SELECT DISTINCT app, projection FROM bennu.positions shows those that have begun.';
    END IF;
    LOOP
        -- A statement of its own in a volatile function: READ COMMITTED gives it a new snapshot each time.
        SELECT count(*), count(*) FILTER (WHERE p.batch_no < parts[2]::bigint) INTO readers, behind
        FROM bennu.positions p JOIN bennu.generations g USING (app, projection, generation)
        WHERE p.topic = parts[1] AND g.state = 'live'
          AND (wait_for.projection IS NULL OR p.projection = wait_for.projection);
        IF readers = 0 THEN
            RAISE invalid_parameter_value USING
                MESSAGE = format('token %L is of journal %s, which %s',  wait_for.token, parts[1],
                                 CASE WHEN wait_for.projection IS NULL THEN 'no projection reads'
                                 ELSE format('projection %L does not read', wait_for.projection) END),
                HINT = 'SELECT DISTINCT projection, topic FROM bennu.positions shows who reads what.';
        END IF;
        IF behind = 0 THEN
            RETURN true;
        END IF;
        IF clock_timestamp() >= until THEN
            RETURN false;
        END IF;
        PERFORM pg_sleep(greatest(0.0, least(pause_s, extract(epoch FROM until - clock_timestamp())::float8)));
        pause_s := least(pause_s * 1.5, 0.05);
    END LOOP;
END $$
"""
COMMENT = """
COMMENT ON FUNCTION bennu.wait_for IS
'Waits until a write is in the tables: true when the batch of this token (bennu-position of the answer) is projected,
into the live generation of that projection, or of all that read the journal; false after timeout_ms.  Call it as a
statement of its own, before the query: a query that calls it began to see before it waits.  It holds no lock that
anybody waits for.  In REPEATABLE READ and SERIALIZABLE a transaction sees no changes of others: there it is an error.'
"""


def upgrade() -> None:
    """Make the function; whoever may read positions and generations may call it."""
    op.execute(WAIT_FOR)
    op.execute(COMMENT)


def downgrade() -> None:
    """Nobody can wait any more."""
    op.execute("DROP FUNCTION bennu.wait_for")
