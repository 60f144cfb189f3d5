"""Where runs are logged: by which words and variables, and what of MLflow's own states is said."""

from __future__ import annotations

import re

from kinds import Kind

TITLE = "Tracking with MLflow"
ABOUT = "Where a run is logged, which its last line says, and what is said where it cannot be."

_TRACKING = "mlflow/mlflow#1262"
_EXPERIMENT = "mlflow/mlflow mlflow/tracking/fluent.py"
WHERE = (
    Kind(
        "the server in MLflow's variable",
        _TRACKING,
        "MLFLOW_TRACKING_URI=http://127.0.0.1:5000",
        "logged there",
        ({"MLFLOW_TRACKING_URI": "SERVER"}, ()),
        ("SERVER", "acme"),
    ),
    Kind(
        "the server by a key",
        _TRACKING,
        "tracking.uri=http://127.0.0.1:5000",
        "logged there",
        ({}, ("tracking.uri=SERVER",)),
        ("SERVER", "acme"),
    ),
    Kind(
        "the server by a key above the variable",
        _TRACKING,
        "MLFLOW_TRACKING_URI=http://other tracking.uri=http://127.0.0.1:5000",
        "logged where the key says",
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}, ("tracking.uri=SERVER",)),
        ("SERVER", "acme"),
    ),
    Kind(
        "the folder of a database by a key above the variable",
        _TRACKING,
        "MLFLOW_TRACKING_URI=http://other paths.mlruns=./mlruns",
        "logged into the database there, as by sloop runs sync --mlruns",
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}, ("paths.mlruns=./mlruns",)),
        (None, "acme"),
    ),
    Kind(
        "an address that holds a password",
        "mlflow/mlflow#3144",
        "MLFLOW_TRACKING_URI=http://me:secret@127.0.0.1:5000",
        "logged there; the password is not said",
        ({"MLFLOW_TRACKING_URI": "SECRET"}, ()),
        ("SERVER", "acme"),
    ),
    Kind(
        "variables that are set to nothing",
        "mlflow/mlflow mlflow/environment_variables.py",
        "MLFLOW_TRACKING_URI= MLFLOW_EXPERIMENT_NAME=",
        "as if they were not set",
        ({"MLFLOW_TRACKING_URI": "", "MLFLOW_EXPERIMENT_NAME": ""}, ("name=study",)),
        (None, "study"),
    ),
    Kind(
        "neither key nor variable",
        _TRACKING,
        "sloop gen num_samples=20",
        "logged into the database under paths.mlruns",
        ({}, ()),
        (None, "acme"),
    ),
    Kind(
        "the experiment in MLflow's variable",
        _EXPERIMENT,
        "MLFLOW_EXPERIMENT_NAME=team",
        "logged into that experiment",
        ({"MLFLOW_EXPERIMENT_NAME": "team"}, ("name=study",)),
        (None, "team"),
    ),
    Kind(
        "an experiment's name with slashes, as Databricks wants it",
        "mlflow/mlflow#8269",
        "MLFLOW_EXPERIMENT_NAME=/Users/me/team",
        "logged into that experiment",
        ({"MLFLOW_EXPERIMENT_NAME": "/Users/me/team"}, ("name=study",)),
        (None, "/Users/me/team"),
    ),
    Kind(
        "a study's name above the variable",
        "ultralytics/ultralytics#3668",
        "MLFLOW_EXPERIMENT_NAME=team name=mine",
        "logged into the study's experiment",
        ({"MLFLOW_EXPERIMENT_NAME": "team"}, ("name=mine",)),
        (None, "mine"),
    ),
    Kind(
        "both variables",
        "mosaicml/composer#2377",
        "MLFLOW_TRACKING_URI=http://127.0.0.1:5000 MLFLOW_EXPERIMENT_NAME=team",
        "logged into that experiment there",
        ({"MLFLOW_TRACKING_URI": "SERVER", "MLFLOW_EXPERIMENT_NAME": "team"}, ("name=study",)),
        ("SERVER", "team"),
    ),
)
"""Given: variables and words. Comes: the server (None: the database on this machine) and the experiment."""

_RESTORE = r"mlflow experiments restore --experiment-id \d+; or log under another name \(name=\.\.\.\)"
REFUSED = (
    Kind(
        "an experiment that was deleted, in the database",
        "mlflow/mlflow#6445",
        "The experiment 5 must be in the 'active' state. Current state is deleted",
        "not logged; the command that restores it",
        ({}, ("name=gone",)),
        rf"experiment gone was deleted there.*MLFLOW_TRACKING_URI=sqlite:///\S+ {_RESTORE}",
    ),
    Kind(
        "an experiment that was deleted, at a server",
        "mlflow/mlflow#2690",
        "The experiment 5 must be in the 'active' state. Current state is deleted",
        "not logged; the command that restores it",
        ({"MLFLOW_TRACKING_URI": "SERVER"}, ("name=gone",)),
        rf"experiment gone was deleted there.*MLFLOW_TRACKING_URI=http://\S+ {_RESTORE}",
    ),
    Kind(
        "an experiment that was deleted, named by the variable",
        "mlflow/mlflow#814",
        "MLFLOW_EXPERIMENT_NAME=gone",
        "not logged; the command that restores it",
        ({"MLFLOW_EXPERIMENT_NAME": "gone"}, ("name=study",)),
        rf"experiment gone was deleted there.*{_RESTORE}",
    ),
    Kind(
        "a server that is down",
        _TRACKING,
        "MLFLOW_TRACKING_URI=http://127.0.0.1:9",
        "not logged; start the server, or sync later",
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}, ()),
        r"MLFLOW_TRACKING_URI=http://127\.0\.0\.1:9: .*Start the server, or go on without it.*sloop runs sync",
    ),
    *(
        Kind(
            f"an address that MLflow itself breaks at: {name}",
            source,
            f"MLFLOW_TRACKING_URI={uri}",
            "not logged; the variable, why, and no password",
            ({"MLFLOW_TRACKING_URI": uri}, ()),
            rf"MLFLOW_TRACKING_URI={re.escape(shown)}: .*{why}.*go on without it",
        )
        for name, source, uri, shown, why in (
            (
                "no driver of PostgreSQL",
                "mlflow/mlflow#20926",
                "postgresql+pg8000://me:secret@h/db",
                "postgresql+pg8000://h/db",
                "No module named 'pg8000'. Install that",
            ),
            (
                "no driver of MySQL",
                "mlflow/mlflow#8820",
                "mysql+pymysql://me:sec@secret/x@h/db",
                "mysql+pymysql://h/db",
                "No module named 'pymysql'. Install that",
            ),
            ("no end of a host", _TRACKING, "http://[::1", "http://[::1", "Invalid IPv6 URL. Give an address"),
            ("no slashes", _TRACKING, "postgresql:me:secret@h", "postgresql:h", "Could not parse SQLAlchemy URL"),
        )
    ),
    Kind(
        "an address that MLflow itself breaks at, by a key",
        "mlflow/mlflow#8820",
        "tracking.uri=mysql+pymysql://me:secret@h/db",
        "not logged; the key, why, and no password",
        ({}, ("tracking.uri=mysql+pymysql://me:secret@h/db",)),
        r"tracking\.uri=mysql\+pymysql://h/db: No module named",
    ),
    Kind(
        "an address without http://",
        "mlflow/mlflow#4",
        "MLFLOW_TRACKING_URI=localhost:5000",
        "not logged; what an address looks like",
        ({"MLFLOW_TRACKING_URI": "localhost:5000"}, ()),
        r"Give the address of an MLflow server, such as http://127\.0\.0\.1:5000",
    ),
    Kind(
        "the address of a page that is no MLflow",
        _TRACKING,
        "MLFLOW_TRACKING_URI=http://127.0.0.1:8000",
        "not logged; what an address looks like",
        ({"MLFLOW_TRACKING_URI": "PAGE"}, ()),
        r"Give the address of an MLflow server",
    ),
    Kind(
        "a page that answers everything",
        _TRACKING,
        "a proxy that sends its own page with status 200",
        "not logged; what an address looks like",
        ({"MLFLOW_TRACKING_URI": "ANYTHING"}, ()),
        r"Give the address of an MLflow server",
    ),
    Kind(
        "a server that wants a password",
        "mlflow/mlflow docs/docs/self-hosting/security/basic-http-auth.mdx",
        "401 You are not authenticated",
        "not logged; the variables of name and password",
        ({"MLFLOW_TRACKING_URI": "GUARDED"}, ()),
        r"Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    ),
    Kind(
        "a folder of files in place of a database",
        "mlflow/mlflow mlflow/store/tracking/file_store.py",
        "MLFLOW_TRACKING_URI=./mlruns",
        "not logged; MLflow's own word on it",
        ({"MLFLOW_TRACKING_URI": "FOLDER"}, ()),
        r"maintenance mode.*Mend that, or go on without it",
    ),
)
"""Given as above. Comes: what the line that says "not logged" holds."""

KINDS = (*WHERE, *REFUSED)
