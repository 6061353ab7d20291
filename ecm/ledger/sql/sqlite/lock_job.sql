-- As find_job. Where writers run side by side it also keeps others from changing the row.
SELECT * FROM jobs WHERE job_id = :job_id;
