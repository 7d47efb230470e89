"""What a Job is told: its row and its stream as the settings of `mainstem.jobs.spec`."""

from __future__ import annotations

import json

from backend.launchers.models import Job
from backend.launchers.options import Options
from mainstem.jobs.spec import JobSpec


def spec_of(job: Job, options: Options) -> JobSpec:
    """The Job's settings; `options` say where the two Kafkas are."""
    source = job.source
    return JobSpec(
        cloud_bootstrap=options.cloud_bootstrap,
        data_bootstrap=options.data_bootstrap,
        data_topic=source.topic,
        input_format=source.input_format,
        input_config=json.dumps(source.input_config),
        federation=job.federation,
        client_id=job.client_id,
        validation_rate=source.validation_rate,
        test_rate=source.test_rate,
        total_msg=source.total_msg if job.records is None else job.records,
        incremental=source.incremental,
        unsupervised_topic=source.unsupervised_topic or None,
        cloud_client_config=options.cloud_client_config,
        data_client_config=options.data_client_config,
        topic_ids=source.stream_ids,
        framework=job.deployment.framework if job.deployment is not None else "tf",
    )
