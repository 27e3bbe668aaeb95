"""Opens a collection as QGIS does and prints what it reads; runs with the system's Python.

    QT_QPA_PLATFORM=offscreen /usr/bin/python3 open_layer.py URL COLLECTION USER PASSWORD

Prints one JSON document: validity, fields with types, and the number of features that were read.
"""

from __future__ import annotations

import json
import sys

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsDataSourceUri,
    QgsFeatureRequest,
    QgsRectangle,
    QgsVectorLayer,
)


def main() -> None:
    """Open the layer, read all features, and those of a rectangle if one is named."""
    url, collection, user, password, *rectangle = sys.argv[1:]
    application = QgsApplication([], False)
    application.initQgis()
    uri = QgsDataSourceUri()
    uri.setParam("url", url)
    uri.setParam("typename", collection)
    uri.setUsername(user)
    uri.setPassword(password)
    if rectangle:
        # "Only request features overlapping the view extent", as the dialog sets it.
        uri.setParam("restrictToRequestBBOX", "1")
    layer = QgsVectorLayer(uri.uri(False), collection, "OAPIF")
    request = QgsFeatureRequest()
    if rectangle:
        request.setFilterRect(QgsRectangle(*map(float, rectangle)))
    result = {
        "version": Qgis.QGIS_VERSION,
        "valid": layer.isValid(),
        "error": layer.error().message(),
        "crs": layer.crs().authid(),
        "fields": {field.name(): field.typeName() for field in layer.fields()},
        "features": sum(1 for _ in layer.getFeatures(request)) if layer.isValid() else 0,
    }
    sys.stdout.write(f"{json.dumps(result)}\n")
    sys.stdout.flush()
    # A layer that is deleted after the application ends the process by a signal.
    del layer
    application.exitQgis()


if __name__ == "__main__":
    main()
