"""Lints the Helm chart with the values of each file in its ci/, holds what it renders against the schemas of Kubernetes,
and prints the documents by file as JSON. The folder of the chart is its argument."""

import json
import pathlib
import sys

import helm_python
import kubernetes_validate
import yaml

# The oldest release that Chart.yaml admits, and the newest with a schema.
RELEASES = ("1.30", kubernetes_validate.latest_version())

chart = pathlib.Path(sys.argv[1])
documents = {}
for path in sorted((chart / "ci").glob("*-values.yaml")):
    values = yaml.safe_load(path.read_text())
    report = helm_python.lint(str(chart), values, strict=True)
    # An icon is recommended, and there is none.
    told = [message for message in report["messages"] if message["severity"] > 1]
    if told or report["errors"]:
        sys.exit(f"{path}: {told} {report['errors']}")
    with helm_python.Chart.load(str(chart)) as loaded:
        loaded.validate_schema(values)
        files = loaded.render(values, name="push", namespace="default")
    rendered = [
        document
        for name, text in files.items()
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]
    for document in rendered:
        # No schema is at hand of what the operator of Prometheus defines.
        if document["kind"] == "ServiceMonitor":
            continue
        for release in RELEASES:
            try:
                kubernetes_validate.validate(document, release, strict=True)
            except kubernetes_validate.ValidationError as error:
                sys.exit(f"{path}: {document['kind']}, Kubernetes {release}: {error.path} {error.message}")
    documents[path.name.removesuffix("-values.yaml")] = rendered
# Without the name of a secret, nothing is installed.
with helm_python.Chart.load(str(chart)) as loaded:
    try:
        loaded.render({}, name="push", namespace="default")
    except helm_python.HelmError as error:
        assert "existingSecret" in str(error), error
    else:
        sys.exit("a chart without secrets is rendered")
print(json.dumps(documents))
