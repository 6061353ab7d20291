INSERT INTO jobs (job_id, tenant_id, source, transforms, state, created_at)
VALUES (
    %(job_id)s, %(tenant_id)s, %(source)s, %(transforms)s, 'listing', %(created_at)s
)
ON CONFLICT (job_id) DO NOTHING;
