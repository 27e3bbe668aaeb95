"""Draws the images of `how-to/open-the-gallery-in-qgis.md`: windows of QGIS with a running stack.

QGIS itself runs this file, on a virtual display. It needs the variables `PINPOINT_URL` (of the
API), `PINPOINT_KEY` and `PINPOINT_ANSWERS` (a file from `pinpoint locate --geojson`):

    xvfb-run qgis --nologo --noplugins --code docs/hooks/draw_qgis_images.py
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsAuthMethodConfig,
    QgsCoordinateReferenceSystem,
    QgsDataSourceUri,
    QgsProject,
    QgsRectangle,
    QgsSettings,
    QgsVectorLayer,
)
from qgis.gui import QgsNewHttpConnection
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtGui import QPixmap
from qgis.PyQt.QtWidgets import QApplication, QWidget
from qgis.utils import iface

ROOT = Path(os.environ.get("PINPOINT_ROOT", ".")).resolve()
IMAGES, STYLES = ROOT / "docs" / "images", ROOT / "clients" / "qgis"
SERVER = os.environ["PINPOINT_URL"] + "/ogc"
WAIT_MS = 25_000
"""Time for all pages of a layer."""
DISPLAYED = QgsRectangle(
    *map(float, os.environ.get("PINPOINT_BOX", "1.0,50.6,8.2,54.0").split(","))
)
"""West, south, east and north of the map of the gallery."""


def save_window(window: QWidget, name: str) -> None:
    """Write a window as a PNG."""
    image = QPixmap(window.grab()).toImage()
    # The lowest quality is the highest compression, which is lossless.
    image.convertToFormat(image.Format_RGB888).save(str(IMAGES / f"{name}.png"), "PNG", 0)


def store_key() -> str:
    """Store the key in the authentication database, as a user does; returns its id."""
    manager = QgsApplication.authManager()
    manager.setMasterPassword("documentation", True)
    config = QgsAuthMethodConfig("Basic")
    config.setName("Pinpoint")
    config.setConfig("username", "pinpoint")
    config.setConfig("password", os.environ["PINPOINT_KEY"])
    manager.storeAuthenticationConfig(config)
    return str(config.id())


def add_background() -> None:
    """Add the countries that come with QGIS."""
    path = Path(QgsApplication.pkgDataPath()) / "resources" / "data" / "world_map.gpkg"
    layer = QgsVectorLayer(f"{path}|layername=countries", "Countries", "ogr")
    symbol = layer.renderer().symbol()
    symbol.setColor(symbol.color().fromRgb(236, 236, 230))
    QgsProject.instance().addMapLayer(layer)


def add_collection(collection: str, title: str, authentication_id: str) -> None:
    """Add a collection of the server with its style."""
    uri = QgsDataSourceUri()
    uri.setParam("url", SERVER)
    uri.setParam("typename", collection)
    uri.setParam("pagingEnabled", "true")
    uri.setParam("restrictToRequestBBOX", "1")
    uri.setAuthConfigId(authentication_id)
    layer = QgsVectorLayer(uri.uri(False), title, "OAPIF")
    if not layer.isValid():
        raise RuntimeError(f"{collection}: {layer.error().message()}")
    layer.loadNamedStyle(str(STYLES / f"{collection}.qml"))
    QgsProject.instance().addMapLayer(layer)


def expand_legend() -> None:
    """Show the entries of all layers in the legend."""
    for node in QgsProject.instance().layerTreeRoot().findLayers():
        node.setExpanded(True)


def add_answers() -> QgsRectangle:
    """Add the regions and points of the answers; returns the bounds of the smallest regions."""
    path = os.environ["PINPOINT_ANSWERS"]
    regions = QgsVectorLayer(f"{path}|geometrytype=MultiPolygon", "Answers: regions", "ogr")
    points = QgsVectorLayer(f"{path}|geometrytype=Point", "Answers: points", "ogr")
    for layer, style in ((regions, "answer-regions"), (points, "answer-points")):
        if not layer.isValid():
            raise RuntimeError(layer.error().message())
        layer.loadNamedStyle(str(STYLES / f"{style}.qml"))
        QgsProject.instance().addMapLayer(layer)
    # The region of 90 % may have parts on other continents.
    bounds = QgsRectangle()
    for feature in regions.getFeatures('"probability" <= 0.5'):
        bounds.combineExtentWith(feature.geometry().boundingBox())
    return bounds


def draw_connection(authentication_id: str) -> None:
    """Draw the dialog of a new connection, filled in."""
    settings = QgsSettings()
    settings.setValue("qgis/connections-wfs/pinpoint/url", "http://127.0.0.1:8080/ogc")
    settings.setValue("qgis/connections-wfs/pinpoint/version", "OGC_API_FEATURES")
    settings.setValue("qgis/connections-wfs/pinpoint/pagingenabled", True)
    settings.setValue("qgis/WFS/pinpoint/authcfg", authentication_id)
    dialog = QgsNewHttpConnection(
        iface.mainWindow(),
        QgsNewHttpConnection.ConnectionWfs,
        "qgis/connections-wfs/",
        "pinpoint",
    )
    dialog.show()
    QApplication.processEvents()
    save_window(dialog, "qgis-connection")
    dialog.close()


def start() -> None:
    """Add the layers, and draw the windows after the map is complete."""
    window = iface.mainWindow()
    window.resize(1_200, 720)
    window.move(0, 0)
    canvas = iface.mapCanvas()
    QgsProject.instance().setCrs(QgsCoordinateReferenceSystem("EPSG:4326"))
    authentication_id = store_key()
    draw_connection(authentication_id)
    add_background()
    add_collection("coverage", "Coverage", authentication_id)
    add_collection("images", "Images", authentication_id)

    def display(bounds: QgsRectangle, next_step: Callable[[], None]) -> None:
        expand_legend()
        canvas.setExtent(bounds)
        canvas.refresh()
        QTimer.singleShot(WAIT_MS, next_step)

    def draw_answers() -> None:
        save_window(window, "qgis-gallery")
        bounds = add_answers()
        bounds.scale(3.0)
        QTimer.singleShot(2_000, lambda: display(bounds, finish))

    def finish() -> None:
        save_window(window, "qgis-answer")
        # QGIS 3.22 does not end cleanly with open layers of a server.
        os._exit(0)

    # QGIS itself displays the whole first layer, a moment after it was added.
    QTimer.singleShot(3_000, lambda: display(DISPLAYED, draw_answers))


QTimer.singleShot(2_000, start)
