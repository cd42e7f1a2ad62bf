"""The room stays light until a vendor is really used."""

import subprocess
import sys

_PROBE = """
import sys
import unihand_data.language.annotator, unihand_data.language.batch, unihand_data.language.gemini
import unihand_data.language.openai_compatible, unihand_data.language.paraphrase, unihand_data.language.relevance
import unihand_data.language.motion_rules, unihand_data.language.batch_cli
heavy = [m for m in ("google.genai", "openai", "torch", "ray", "cv2", "mediapipe") if m in sys.modules]
sys.exit(",".join(heavy) or 0)
"""


def test_no_vendor_library_is_imported_before_a_client_is_built():
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
