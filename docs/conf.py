"""How Sphinx builds the documentation; called by tools/docs.py, which makes the pages under reference/ beforehand."""

import re
from pathlib import Path

project = "ipha_toolkit"
author = "The ipha_toolkit developers"
copyright = "The ipha_toolkit developers. BSD-3-Clause. For research, not for diagnosis"
release = (Path(__file__).parent / "version.txt").read_text("utf-8").strip()
version = re.sub(r"^(\d+\.\d+).*", r"\1", release)

extensions = ["myst_parser"]
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 4
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "version.txt"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["own.css"]
html_title = f"ipha_toolkit {release}"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_use_index = True
python_use_unqualified_type_names = True
pygments_style = "friendly"
