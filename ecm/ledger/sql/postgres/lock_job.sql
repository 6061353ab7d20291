SELECT * FROM jobs WHERE job_id = %(job_id)s FOR NO KEY UPDATE;
