INSERT INTO jobs (job_id, tenant_id, source, transforms, state, created_at)
VALUES (:job_id, :tenant_id, :source, :transforms, 'listing', :created_at)
ON CONFLICT (job_id) DO NOTHING;
