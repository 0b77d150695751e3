"""Asks TensorFlow Serving, or hierkeras.serve, over REST what images show.

    python rest_client.py --server=localhost:8501 photo.jpg other.jpg

One line for each image: the file, its class, the score and the superclasses
taken. An example to copy from; it needs Python alone.
"""

import argparse
import base64
import http.client
import json
import pathlib
import sys
import urllib.error
import urllib.request


def main() -> None:
    """Sends the files in one request and prints the answers."""
    parser = argparse.ArgumentParser(description="Classifies images.")
    parser.add_argument("--server", default="localhost:8501")
    parser.add_argument("--model", default="hierkeras")
    parser.add_argument("--timeout_seconds", type=float, default=10.0)
    parser.add_argument("files", nargs="+", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args()

    body = {
        "signature_name": "serving_default",
        "instances": [
            {
                "image_bytes": {
                    "b64": base64.b64encode(file.read_bytes()).decode()
                }
            }
            for file in options.files
        ],
    }
    request = urllib.request.Request(
        f"http://{options.server}/v1/models/{options.model}:predict",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(
            request, timeout=options.timeout_seconds
        ) as response:
            predictions = json.load(response)["predictions"]
    except urllib.error.HTTPError as error:
        sys.exit(f"error: {error.code}: {reason(error.read())}")
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"error: {options.server}: {error}")

    for file, answer in zip(options.files, predictions, strict=True):
        # Best first; a bad image has the empty class, where that is allowed.
        print(
            file,
            answer["classes"][0],
            f"{answer['scores'][0]:.4f}",
            answer["path"],
            sep="\t",
        )


def reason(body: bytes) -> str:
    """What the server says is wrong."""
    try:
        return json.loads(body)["error"]
    except (ValueError, TypeError, KeyError):
        return body.decode(errors="replace")


if __name__ == "__main__":
    main()
