"""python rois_oracle.py CASE.npz RESULT.npz: Proposal and ROIPooling as OpenCV 4 has them.

Needs OpenCV 4 and NumPy, nothing of edgecv. CASE holds scores, deltas, im_info and features, pre_nms and
post_nms, bins (down, across) and scale; RESULT rois (n, 5) and pool.
"""

from __future__ import annotations

import sys

import cv2
import numpy as np

INPUTS = ("scores", "deltas", "im_info", "features")


def prototxt(case: dict[str, np.ndarray]) -> str:
    layers = []
    for name in INPUTS:
        shape = " ".join(f"dim: {n}" for n in case[name].shape)
        layers.append(f'name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {shape} }} }}')
    layers.append(
        'name: "rois" type: "Proposal" bottom: "scores" bottom: "deltas" bottom: "im_info" top: "rois" '
        "proposal_param { ratio: 0.5 ratio: 1 ratio: 2 scale: 8 scale: 16 scale: 32 "
        f"pre_nms_topn: {case['pre_nms']} post_nms_topn: {case['post_nms']} nms_thresh: 0.7 }}"
    )
    down, across = case["bins"]
    layers.append(
        'name: "pool" type: "ROIPooling" bottom: "features" bottom: "rois" top: "pool" '
        f"roi_pooling_param {{ pooled_h: {down} pooled_w: {across} spatial_scale: {case['scale']} }}"
    )
    return "".join(f"layer {{ {layer} }}\n" for layer in layers)


def main() -> None:
    case = dict(np.load(sys.argv[1]))
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(prototxt(case).encode(), np.uint8))
    for name in INPUTS:
        net.setInput(case[name], name)
    rois, pool = net.forward(["rois", "pool"])
    np.savez(sys.argv[2], rois=rois.reshape(-1, 5), pool=pool)


if __name__ == "__main__":
    main()
