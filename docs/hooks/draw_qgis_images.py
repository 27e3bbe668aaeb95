"""Draws the images of `how-to/open-the-gallery-in-qgis.md`: windows of QGIS with a running stack.

QGIS itself runs this file, on a virtual display. It needs the variables `PINPOINT_URL` (of the API),
`PINPOINT_KEY` and `PINPOINT_ANSWERS` (a file from `pinpoint locate --geojson`):

    xvfb-run -s "-screen 0 1280x800x24" qgis --nologo --noplugins --code docs/hooks/draw_qgis_images.py
"""

from __future__ import annotations

import os
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
WAIT_MS = 20_000
"""Time for all pages of a layer."""
DISPLAYED = QgsRectangle(*map(float, os.environ.get("PINPOINT_BOX", "-11,35,31,61").split(",")))


def save_window(window: QWidget, name: str) -> None:
    """Write a window as a PNG with few colors."""
    image = QPixmap(window.grab()).toImage()
    path = IMAGES / f"{name}.png"
    # Indexed colors keep the file small.
    image.convertToFormat(image.Format_Indexed8).save(str(path), "PNG", 0)


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
    uri.setAuthConfigId(authentication_id)
    layer = QgsVectorLayer(uri.uri(False), title, "OAPIF")
    if not layer.isValid():
        raise RuntimeError(f"{collection}: {layer.error().message()}")
    layer.loadNamedStyle(str(STYLES / f"{collection}.qml"))
    QgsProject.instance().addMapLayer(layer)


def add_answers() -> QgsVectorLayer:
    """Add the regions and points of the answers; returns the regions."""
    path = os.environ["PINPOINT_ANSWERS"]
    regions = QgsVectorLayer(f"{path}|geometrytype=MultiPolygon", "Answers: regions", "ogr")
    points = QgsVectorLayer(f"{path}|geometrytype=Point", "Answers: points", "ogr")
    for layer, style in ((regions, "answer-regions"), (points, "answer-points")):
        if not layer.isValid():
            raise RuntimeError(layer.error().message())
        layer.loadNamedStyle(str(STYLES / f"{style}.qml"))
        QgsProject.instance().addMapLayer(layer)
    return regions


def draw_connection(authentication_id: str) -> None:
    """Draw the dialog of a new connection, filled in."""
    settings = QgsSettings()
    settings.setValue("qgis/connections-wfs/pinpoint/url", SERVER)
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
    canvas.setExtent(DISPLAYED)
    canvas.refresh()

    def draw_answers() -> None:
        save_window(window, "qgis-gallery")
        extent = add_answers().extent()
        extent.scale(1.3)
        canvas.setExtent(extent)
        canvas.refresh()
        QTimer.singleShot(WAIT_MS, finish)

    def finish() -> None:
        save_window(window, "qgis-answer")
        QgsProject.instance().setDirty(False)
        QTimer.singleShot(0, QgsApplication.instance().quit)

    QTimer.singleShot(WAIT_MS, draw_answers)


QTimer.singleShot(2_000, start)
