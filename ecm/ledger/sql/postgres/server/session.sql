-- No index is forgone while the statistics of a young table are still missing, and no transaction
-- of a process that sleeps holds up the others.
SELECT
    set_config('search_path', quote_ident(%(schema)s::text), false),
    set_config('lock_timeout', %(lock_ms)s::text, false),
    set_config('statement_timeout', %(statement_ms)s::text, false),
    set_config('idle_in_transaction_session_timeout', %(idle_ms)s::text, false),
    set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit')
    END, false),
    set_config('enable_seqscan', 'off', false),
    set_config('random_page_cost', '1.1', false),
    set_config('jit', 'off', false);
