"""Writes the styles (`*.qml`) and the layer definition (`pinpoint.qlr`) of this folder.

It runs with the Python of QGIS 3.22 or later, without a display; no server is needed:

    QT_QPA_PLATFORM=offscreen python3 clients/qgis/make_layers.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

from qgis.core import (
    QgsApplication,
    QgsCategorizedSymbolRenderer,
    QgsDataSourceUri,
    QgsFeatureRenderer,
    QgsFillSymbol,
    QgsGraduatedSymbolRenderer,
    QgsLayerDefinition,
    QgsLayerTree,
    QgsMapLayer,
    QgsMarkerSymbol,
    QgsProperty,
    QgsReadWriteContext,
    QgsRendererCategory,
    QgsRendererRange,
    QgsRuleBasedRenderer,
    QgsSimpleMarkerSymbolLayer,
    QgsSingleSymbolRenderer,
    QgsSymbol,
    QgsSymbolLayer,
    QgsVectorLayer,
    QgsVectorTileBasicRenderer,
    QgsVectorTileBasicRendererStyle,
    QgsVectorTileLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtXml import QDomDocument

FOLDER = Path(__file__).resolve().parent
SERVER = "http://127.0.0.1:8080/ogc"
AUTHENTICATION_ID = "pinpnt1"
PHOTO, STREET, ANSWER = "#d95f02", "#1b6ca8", "#7b1fa2"
"""Colors of both source kinds, and of answers."""
COUNT_COLORS = {9: "#e5f5e0", 99: "#a1d99b", 999: "#41ab5d", 100_000_000: "#006d2c"}
"""Largest number of images in a cell to its color."""


def make_point(color: str, size_mm: float, shape: str = "circle") -> QgsMarkerSymbol:
    """A marker with a thin white line."""
    return QgsMarkerSymbol.createSimple(
        {
            "name": shape,
            "color": color,
            "size": str(size_mm),
            "outline_color": "#ffffff",
            "outline_width": "0.2",
        }
    )


def make_fill(color: str, opacity: float, outline: str = "#ffffff") -> QgsFillSymbol:
    """A translucent fill."""
    symbol = QgsFillSymbol.createSimple(
        {"color": color, "outline_color": outline, "outline_width": "0.2"}
    )
    symbol.setOpacity(opacity)
    return symbol


def make_kind_renderer(
    field: str, labels: dict[str, str], symbols: list[QgsSymbol]
) -> QgsFeatureRenderer:
    """One symbol for each source kind."""
    categories = [
        QgsRendererCategory(value, symbol, label)
        for (value, label), symbol in zip(labels.items(), symbols, strict=True)
    ]
    return QgsCategorizedSymbolRenderer(field, categories)


def render_images() -> QgsFeatureRenderer:
    """Images by source kind."""
    return make_kind_renderer(
        "source_kind",
        {"photo": "photo", "street": "street"},
        [make_point(PHOTO, 1.8), make_point(STREET, 1.8)],
    )


def render_coverage() -> QgsFeatureRenderer:
    """Cells by number of images."""
    ranges, least = [], 1
    for most, color in COUNT_COLORS.items():
        label = f"{least:,} and more" if most == max(COUNT_COLORS) else f"{least:,} to {most:,}"
        ranges.append(QgsRendererRange(least, most, make_fill(color, 0.6), label))
        least = most + 1
    return QgsGraduatedSymbolRenderer("images", ranges)


def render_gaps() -> QgsFeatureRenderer:
    """Cells by the only source kind that they have."""
    return make_kind_renderer(
        "source_kind",
        {"photo": "photos only", "street": "street images only"},
        [make_fill(PHOTO, 0.35), make_fill(STREET, 0.35)],
    )


def render_queries() -> QgsFeatureRenderer:
    """Answers as diamonds."""
    return QgsSingleSymbolRenderer(make_point(ANSWER, 3.2, "diamond"))


def render_answer_points() -> QgsFeatureRenderer:
    """Point, candidates and evidence; cited images are larger."""
    root = QgsRuleBasedRenderer.Rule(None)
    rules = (
        ("evidence", "\"feature_type\" = 'evidence'", make_point("#9e9e9e", 1.6)),
        ("candidate", "\"feature_type\" IN ('candidate', 'hit')", make_point(PHOTO, 2.2)),
        ("coordinate", "\"feature_type\" = 'coordinate'", make_point(STREET, 2.0)),
        ("answer", "\"feature_type\" = 'point'", make_point(ANSWER, 4.0, "star")),
    )
    for label, expression, symbol in rules:
        for layer in symbol.symbolLayers():
            if label in ("evidence", "candidate") and isinstance(layer, QgsSimpleMarkerSymbolLayer):
                size = f'if("cited", {layer.size() * 1.6}, {layer.size()})'
                layer.setDataDefinedProperty(
                    QgsSymbolLayer.PropertySize, QgsProperty.fromExpression(size)
                )
        root.appendChild(QgsRuleBasedRenderer.Rule(symbol, filterExp=expression, label=label))
    return QgsRuleBasedRenderer(root)


def render_answer_regions() -> QgsFeatureRenderer:
    """Credible regions and discs of 50 and 90 %."""
    root = QgsRuleBasedRenderer.Rule(None)
    rules = (
        ("90 %", '"probability" > 0.7', make_fill(ANSWER, 0.2, ANSWER)),
        ("50 %", '"probability" <= 0.7', make_fill(ANSWER, 0.4, ANSWER)),
    )
    for label, expression, symbol in rules:
        root.appendChild(QgsRuleBasedRenderer.Rule(symbol, filterExp=expression, label=label))
    return QgsRuleBasedRenderer(root)


STYLES = {
    "images": ("Point", "field=source_kind:string", render_images),
    "coverage": ("MultiPolygon", "field=images:integer", render_coverage),
    "gaps": ("MultiPolygon", "field=source_kind:string", render_gaps),
    "queries": ("Point", "field=radius_m:double", render_queries),
    "answer-points": (
        "Point",
        "field=feature_type:string&field=cited:bool",
        render_answer_points,
    ),
    "answer-regions": ("MultiPolygon", "field=probability:double", render_answer_regions),
}
"""Style to its geometry, the fields that it reads, and its renderer."""


def write_styles() -> None:
    """Write one QML file for each style."""
    for name, (geometry, fields, render) in STYLES.items():
        layer = QgsVectorLayer(f"{geometry}?crs=EPSG:4326&{fields}", name, "memory")
        layer.setRenderer(render())
        message, is_saved = layer.saveNamedStyle(str(FOLDER / f"{name}.qml"), QgsMapLayer.Symbology)
        if not is_saved:
            raise RuntimeError(message)


def make_source(collection: str) -> str:
    """The source of a layer, as QGIS writes it for OGC API - Features."""
    uri = QgsDataSourceUri()
    uri.setParam("url", SERVER)
    uri.setParam("typename", collection)
    uri.setParam("pagingEnabled", "true")
    uri.setParam("restrictToRequestBBOX", "1")
    uri.setAuthConfigId(AUTHENTICATION_ID)
    return str(uri.uri(False))


def list_layers() -> Iterator[tuple[QgsMapLayer, str, bool]]:
    """Layers in the order of the legend, with their source and whether they are shown at first.

    They are layers in memory, because a layer of the server could not be made without it.
    """
    titles = {"queries": "Kept queries", "images": "Images", "gaps": "Gaps", "coverage": "Coverage"}
    for collection, title in titles.items():
        geometry, fields, render = STYLES[collection]
        layer = QgsVectorLayer(f"{geometry}?crs=EPSG:4326&{fields}", title, "memory")
        layer.setRenderer(render())
        yield layer, make_source(collection), collection in ("queries", "images")
    yield make_tile_layer(), "", False


def make_tile_layer() -> QgsVectorTileLayer:
    """Images as vector tiles: cells at low zoom, points at high zoom."""
    url = f"{SERVER}/collections/images/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}"
    source = f"type=xyz&url={quote(url, safe=':/')}&zmin=0&zmax=16&authcfg={AUTHENTICATION_ID}"
    layer = QgsVectorTileLayer(source, "Images (vector tiles)")
    styles = []
    least = 1
    for most, color in COUNT_COLORS.items():
        style = QgsVectorTileBasicRendererStyle(
            f"cells to {most}", "images", QgsWkbTypes.PolygonGeometry
        )
        style.setFilterExpression(f'"images" >= {least} AND "images" <= {most}')
        style.setSymbol(make_fill(color, 0.6))
        styles.append(style)
        least = most + 1
    for kind, color in (("photo", PHOTO), ("street", STREET)):
        style = QgsVectorTileBasicRendererStyle(kind, "images", QgsWkbTypes.PointGeometry)
        style.setFilterExpression(f"\"source_kind\" = '{kind}'")
        style.setSymbol(make_point(color, 1.8))
        styles.append(style)
    renderer = QgsVectorTileBasicRenderer()
    renderer.setStyles(styles)
    layer.setRenderer(renderer)
    return layer


def write_layer_definition() -> None:
    """Write all layers with their styles; images are drawn on top of cells."""
    root = QgsLayerTree()
    group = root.addGroup("Pinpoint")
    layers, sources = [], {}
    for layer, source, is_shown in list_layers():
        layers.append(layer)
        if source:
            sources[layer.id()] = source
        group.addLayer(layer).setItemVisibilityChecked(is_shown)
    document = QDomDocument("qgis-layer-definition")
    is_saved, message = QgsLayerDefinition.exportLayerDefinition(
        document, [group], QgsReadWriteContext()
    )
    if not is_saved:
        raise RuntimeError(message)
    definition = ElementTree.fromstring(document.toString(1))
    for node in definition.iter("layer-tree-layer"):
        if node.get("id") in sources:
            node.set("source", sources[node.get("id")])
            node.set("providerKey", "OAPIF")
    for element in definition.iter("maplayer"):
        if element.findtext("id") in sources:
            element.find("datasource").text = sources[element.findtext("id")]
            element.find("provider").text = "OAPIF"
    ElementTree.indent(definition)
    text = ElementTree.tostring(definition, encoding="unicode")
    target = FOLDER / "pinpoint.qlr"
    target.write_text(f"<!DOCTYPE qgis-layer-definition>\n{text}\n", encoding="utf-8")


def main() -> None:
    """Write all files."""
    application = QgsApplication([], False)
    application.initQgis()
    write_styles()
    write_layer_definition()
    application.exitQgis()


if __name__ == "__main__":
    main()
