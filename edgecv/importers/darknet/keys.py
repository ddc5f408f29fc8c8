"""Options that act only in training, or only on the machine that Darknet runs on: no remark for these.

From `parse_network_cfg_custom` and the parse functions of AlexeyAB/darknet and pjreddie/darknet, parser.c.
"""

from __future__ import annotations


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


_EVERY_LAYER = _keys("""
    clip onlyforward dont_update burnin_update stopbackward train_only_bn learning_rate
    dontload dontloadscales dontsave
""")

_NET = _keys("""
    batch subdivisions time_steps track augment_speed sequential_subdivisions try_fix_nan max_batches
    learning_rate learning_rate_min sgdr_cycle sgdr_mult momentum decay burn_in policy step steps scale scales
    seq_scales gamma power adam b1 b2 eps weights_reject_freq equidistant_point
    badlabels_rejection_percentage num_sigmas_reject_badlabels ema_alpha use_cuda_graph loss_scale
    dynamic_minibatch optimized_memory workspace_size_limit_mb max_crop min_crop center flip blur
    gaussian_noise mixup cutmix mosaic mosaic_bound contrastive contrastive_jit_flip contrastive_color
    unsupervised label_smooth_eps resize_step attention adversarial_lr max_chart_loss angle aspect saturation
    exposure hue random show_receptive_field notruth clip
""")

_BOXES = _keys("""
    jitter resize random max ignore_thresh truth_thresh iou_thresh iou_thresh_kind iou_loss iou_normalizer
    obj_normalizer cls_normalizer delta_normalizer max_delta counters_per_class label_smooth_eps
    objectness_smooth focal_loss show_details beta_nms nms_kind track_history_size sim_thresh dets_for_track
    dets_for_show track_ciou_norm embedding_layer map thresh rescore absolute bias_match classfix log sqrt
    coord_scale object_scale noobject_scale mask_scale class_scale forced reorg
""")

_LAYERS: dict[str, frozenset[str]] = {
    "net": _NET,
    "yolo": _BOXES,
    "region": _BOXES,
    "detection": _BOXES,
    "convolutional": _keys("bin_output assisted_excitation dot angle grad_centr reverse stream wait_stream"),
    "depthwise_convolutional": frozenset(["dot", "flipped"]),
    "route": frozenset(["stream", "wait_stream"]),
    "crop": frozenset(["flip", "angle", "saturation", "exposure", "shift"]),
    "dropout": frozenset(["probability", "dropblock", "dropblock_size_rel", "dropblock_size_abs"]),
    "softmax": frozenset(["noloss"]),
    "cost": frozenset(["type", "scale", "ratio", "noobj", "thresh"]),
    "contrastive": _keys("classes yolo_layer temperature cls_normalizer max_delta contrastive_neg_max"),
}


def is_for_training(kind: str, key: str) -> bool:
    """Whether an option of a section changes nothing at inference."""
    return key in _EVERY_LAYER or key.lower() in _LAYERS.get(kind, frozenset())
