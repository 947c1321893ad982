"""What Airflow shows about this provider, and the form of its connection type."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata (entry point `apache_airflow_provider`). Airflow calls this at each start."""
    integration = "Omni"
    return {
        "package-name": "omni-refresh",
        "name": integration,
        "description": "Refreshes the schemas of many Omni models within the API's request budget.",
        "integrations": [
            {"integration-name": integration, "external-doc-url": "https://docs.omni.co", "tags": ["service"]}
        ],
        "operators": [{"integration-name": integration, "python-modules": ["orchestrator.airflow.operator"]}],
        "triggers": [{"integration-name": integration, "python-modules": ["orchestrator.airflow.trigger"]}],
        "hooks": [{"integration-name": integration, "python-modules": ["orchestrator.airflow.hook"]}],
        "connection-types": [
            {
                "connection-type": "omni",
                "hook-class-name": "orchestrator.airflow.hook.OmniHook",
                "hook-name": integration,
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "port"],
                    "relabeling": {
                        "host": "Base URL",
                        "password": "API key",
                        "extra": "Further variables of the manifest",
                    },
                    "placeholders": {
                        "host": "https://blobsrus.omniapp.co",
                        "extra": '{"OMNI_EMEA_KEY": "the key of a second instance"}',
                    },
                },
            }
        ],
    }
