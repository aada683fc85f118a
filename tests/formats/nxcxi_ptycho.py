"""What the NeXus definition NXcxi_ptycho (NXDL 3.1, contributed) requires of a file; paths below ``entry_1``."""

GROUPS = {
    "": "NXentry", "instrument_1": "NXinstrument", "instrument_1/source_1": "NXsource", "instrument_1/beam_1": "NXbeam",
    "instrument_1/detector_1": "NXdetector", "instrument_1/detector_1/transformations": "NXtransformations",
    "data": "NXdata", "data_1": "NXcollection", "sample_1": "NXsample", "sample_1/transformations": "NXtransformations",
    "sample_1/geometry_1": "NXcollection",
}  # fmt: skip
"""Groups and their classes; the NXdata has no name in the definition."""

FLOATS = (
    "instrument_1/source_1/energy", "instrument_1/source_1/probe", "instrument_1/source_1/type",
    "instrument_1/detector_1/transformations/vector",
)  # fmt: skip
"""Fields of type NX_FLOAT or NX_NUMBER without an attribute."""

WITH_UNITS = (
    "instrument_1/beam_1/energy", "instrument_1/beam_1/incident_beam_energy", "instrument_1/beam_1/incident_energy_spread",
    "instrument_1/detector_1/translation", "instrument_1/detector_1/x_pixel_size", "instrument_1/detector_1/y_pixel_size",
    "instrument_1/detector_1/distance", "sample_1/transformations/x", "sample_1/transformations/y",
)  # fmt: skip
"""Fields of type NX_FLOAT with the attribute ``units``."""

WORDS = ("definition", "instrument_1/source_1/name", "data/x_indices", "data/y_indices")
"""Fields of type NX_CHAR."""

ATTRIBUTES = {
    "instrument_1/detector_1": ("axes", "signal"), "instrument_1/detector_1/translation": ("axes", "interpretation"),
    "data": ("axes", "signal"), "sample_1/transformations": ("vector",),
}  # fmt: skip

LINKS = {
    "instrument_1/detector_1/data_1": "instrument_1/detector_1/data", "data/data": "instrument_1/detector_1/data",
    "data/x": "sample_1/transformations/x", "data/y": "sample_1/transformations/y", "data_1/data": "instrument_1/detector_1/data",
    "data_1/translation": "instrument_1/detector_1/translation",
    "sample_1/geometry_1/translation": "instrument_1/detector_1/translation",
}  # fmt: skip
"""Links and what they lead to."""
