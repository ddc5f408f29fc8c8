"""The fields of a Caffe network file, as tables: what `schema` makes message types of.

A text file names its fields, so no numbers are here; in a binary file only weights are read, and the
forks of Caffe give other fields one number. The text tables hold the fields of BVLC's caffe.proto and
of the forks whose networks are in use: SSD, MobileNet-YOLO, NVIDIA's, SegNet, DeepLab, PSPNet, Faster
R-CNN, ShuffleNet, Intel's.

A row is a message and its fields, `name:type`, with `*` where a field repeats and `=value` for a
default. Types: i int32, I int64, u uint32, f float, d double, b bool, s string, B bytes; else a message
or an enumeration.
"""

from __future__ import annotations

ENUMS = """
Phase TRAIN TEST
Engine DEFAULT CAFFE CUDNN MKL2017 MKLDNN
Type DOUBLE FLOAT FLOAT16 INT UINT
DimCheckMode STRICT PERMISSIVE
VarianceNorm FAN_IN FAN_OUT AVERAGE
PoolMethod MAX AVE STOCHASTIC
RoundMode CEIL FLOOR
EltwiseOp PROD SUM MAX
ReductionOp SUM=1 ASUM SUMSQ MEAN
NormRegion ACROSS_CHANNELS WITHIN_CHANNEL
BNMode LEARN INFERENCE
CodeType CORNER=1 CENTER_SIZE CORNER_SIZE
DB LEVELDB LMDB
HingeNorm L1=1 L2
NormalizationMode FULL VALID BATCH_SIZE NONE
LocLossType L2 SMOOTH_L1
ConfLossType SOFTMAX LOGISTIC
MatchType BIPARTITE PER_PREDICTION
MiningType NONE MAX_NEGATIVE HARD_EXAMPLE
ResizeMode WARP=1 FIT_SMALL_SIZE FIT_LARGE_SIZE_AND_PAD
PadMode CONSTANT=1 MIRRORED REPEAT_NEAREST
InterpMode LINEAR=1 AREA NEAREST CUBIC LANCZOS4
EmitType CENTER MIN_OVERLAP
AnnotationType BBOX
LabelType NONE IMAGE PIXEL
GridboxType GRIDBOX_MAX GRIDBOX_MIN
CoverageType RECTANGULAR
AlgoSeeker GET FINDEX
UpsampleMode NEAREST BILINEAR
V1LayerType NONE ACCURACY BNLL CONCAT CONVOLUTION DATA DROPOUT EUCLIDEAN_LOSS FLATTEN HDF5_DATA HDF5_OUTPUT
  IM2COL IMAGE_DATA INFOGAIN_LOSS INNER_PRODUCT LRN MULTINOMIAL_LOGISTIC_LOSS POOLING RELU SIGMOID SOFTMAX
  SOFTMAX_LOSS SPLIT TANH WINDOW_DATA ELTWISE POWER SIGMOID_CROSS_ENTROPY_LOSS HINGE_LOSS MEMORY_DATA ARGMAX
  THRESHOLD DUMMY_DATA SLICE MVN ABSVAL SILENCE CONTRASTIVE_LOSS EXP DECONVOLUTION CROP BN=43 RELU6=61
  UPSAMPLE=1000 DENSE_IMAGE_DATA PRELU PERMUTE IMAGE_SEG_DATA=139
"""

# What a layer of today's format and one of the V1 format have in common.
_PARAMETERS = """
  transform_param:TransformationParameter loss_param:LossParameter accuracy_param:AccuracyParameter
  argmax_param:ArgMaxParameter concat_param:ConcatParameter contrastive_loss_param:ContrastiveLossParameter
  convolution_param:ConvolutionParameter data_param:DataParameter dropout_param:DropoutParameter
  dummy_data_param:DummyDataParameter eltwise_param:EltwiseParameter exp_param:ExpParameter
  hdf5_data_param:HDF5DataParameter hdf5_output_param:HDF5OutputParameter
  hinge_loss_param:HingeLossParameter image_data_param:ImageDataParameter
  infogain_loss_param:InfogainLossParameter inner_product_param:InnerProductParameter lrn_param:LRNParameter
  memory_data_param:MemoryDataParameter mvn_param:MVNParameter pooling_param:PoolingParameter
  power_param:PowerParameter relu_param:ReLUParameter relu6_param:ReLU6Parameter
  sigmoid_param:EngineParameter softmax_param:SoftmaxParameter slice_param:SliceParameter
  tanh_param:EngineParameter threshold_param:ThresholdParameter window_data_param:WindowDataParameter
  bn_param:BNParameter upsample_param:UpsampleParameter dense_image_data_param:ImageDataParameter
  prelu_param:PReLUParameter flatten_param:FlattenParameter reshape_param:ReshapeParameter
  log_param:LogParameter python_param:PythonParameter spp_param:SPPParameter crop_param:CropParameter
  roi_pooling_param:ROIPoolingParameter interp_param:InterpParameter
"""

LAYERS = f"""
NetParameter name:s input:s* input_shape:BlobShape* input_dim:I* force_backward:b state:NetState
  debug_info:b layer:LayerParameter* layers:V1LayerParameter* engine:s default_forward_type:Type
  default_backward_type:Type default_forward_math:Type default_backward_math:Type global_grad_scale:f
  global_grad_scale_adaptive:b default_conv_algos_override:s reduce_buckets:i
BlobShape dim:I*
NetState phase:Phase=TEST level:i stage:s*
NetStateRule phase:Phase min_level:i max_level:i stage:s* not_stage:s*
ParamSpec name:s share_mode:DimCheckMode lr_mult:f=1 decay_mult:f=1
FillerParameter type:s=constant value:f min:f max:f=1 mean:f std:f=1 sparse:i=-1 variance_norm:VarianceNorm
  file:s
LayerParameter name:s type:s bottom:s* top:s* phase:Phase loss_weight:f* param:ParamSpec* propagate_down:b*
  include:NetStateRule* exclude:NetStateRule* engine:s forward_type:Type backward_type:Type
  forward_math:Type backward_math:Type debug:b cudnn_math_override:i {_PARAMETERS}
  annotated_data_param:AnnotatedDataParameter batch_norm_param:BatchNormParameter bias_param:BiasParameter
  clip_param:ClipParameter detection_evaluate_param:DetectionEvaluateParameter
  detection_output_param:DetectionOutputParameter detectnet_augmentation_param:DetectNetAugmentation
  detectnet_groundtruth_param:DetectNetGroundTruth elu_param:ELUParameter embed_param:EmbedParameter
  input_param:InputParameter mish_param:EngineParameter multibox_loss_param:MultiBoxLossParameter
  norm_param:NormalizeParameter normalize_bbox_param:NormalizeParameter parameter_param:ParameterParameter
  permute_param:PermuteParameter prior_box_param:PriorBoxParameter proposal_param:ProposalParameter
  psroi_pooling_param:PSROIPoolingParameter recurrent_param:RecurrentParameter
  reduction_param:ReductionParameter region_loss_param:RegionLossParameter reorg_param:ReorgParameter
  scale_param:ScaleParameter shuffle_channel_param:ShuffleChannelParameter
  smooth_l1_loss_param:SmoothL1LossParameter split_param:EngineParameter swish_param:SwishParameter
  tile_param:TileParameter video_data_param:VideoDataParameter
  yolo_detection_output_param:YoloDetectionOutputParameter
  yolov3_detection_output_param:Yolov3DetectionOutputParameter yolov3_param:Yolov3Parameter
V1LayerParameter name:s type:V1LayerType bottom:s* top:s* include:NetStateRule* exclude:NetStateRule*
  param:s* blob_share_mode:DimCheckMode* blobs_lr:f* weight_decay:f* loss_weight:f* layer:V0LayerParameter
  {_PARAMETERS}
V0LayerParameter name:s type:s
ArgMaxParameter out_max_val:b top_k:u=1 axis:i
BatchNormParameter use_global_stats:b moving_average_fraction:f=0.999 eps:f=1e-5 scale_bias:b
  scale_filler:FillerParameter bias_filler:FillerParameter engine:Engine
BiasParameter axis:i=1 num_axes:i=1 filler:FillerParameter
BNParameter scale_filler:FillerParameter shift_filler:FillerParameter slope_filler:FillerParameter
  bias_filler:FillerParameter bn_mode:BNMode var_eps:f=1e-10 eps:f=1e-5 moving_average:b decay:f=0.05
  axis:i=1 momentum:f=0.9 frozen:b engine:Engine
ClipParameter min:f max:f
ConcatParameter axis:i=1 concat_dim:u=1
ConvolutionParameter num_output:u bias_term:b=true pad:u* kernel_size:u* stride:u* dilation:u* pad_h:u
  pad_w:u kernel_h:u kernel_w:u stride_h:u stride_w:u dilation_h:u dilation_w:u hole:u* hole_h:u hole_w:u
  group:u=1 weight_filler:FillerParameter bias_filler:FillerParameter engine:Engine axis:i=1
  force_nd_im2col:b cudnn_convolution_algo_seeker:AlgoSeeker conv_algos_override:s
CropParameter axis:i=2 offset:u*
DetectionOutputParameter num_classes:u share_location:b=true background_label_id:i
  nms_param:NonMaximumSuppressionParameter save_output_param:SaveOutputParameter code_type:CodeType=CORNER
  variance_encoded_in_target:b keep_top_k:i=-1 confidence_threshold:f normalized_bbox:b=true clip:b
  visualize:b visualize_threshold:f save_file:s objectness_score:f=0.01 nms_threshold:f=0.3 top_k:i
DropoutParameter dropout_ratio:f=0.5 scale_train:b=true sample_weights_test:b
EltwiseParameter operation:EltwiseOp=SUM coeff:f* stable_prod_grad:b=true
ELUParameter alpha:f=1
EngineParameter engine:Engine
ExpParameter base:f=-1 scale:f=1 shift:f
FlattenParameter axis:i=1 end_axis:i=-1
InnerProductParameter num_output:u bias_term:b=true weight_filler:FillerParameter
  bias_filler:FillerParameter axis:i=1 transpose:b
InputParameter shape:BlobShape*
InterpParameter height:i width:i zoom_factor:i=1 shrink_factor:i=1 pad_beg:i pad_end:i
  interp_type:s=bilinear
LogParameter base:f=-1 scale:f=1 shift:f
LRNParameter local_size:u=5 alpha:f=1 beta:f=0.75 norm_region:NormRegion k:f=1 engine:Engine
MVNParameter normalize_variance:b=true across_channels:b eps:f=1e-9
NonMaximumSuppressionParameter nms_threshold:f=0.3 top_k:i eta:f=1
NormalizeParameter across_spatial:b=true scale_filler:FillerParameter channel_shared:b=true eps:f=1e-10
ParameterParameter shape:BlobShape
PermuteParameter order:u*
PoolingParameter pool:PoolMethod pad:u pad_h:u pad_w:u kernel_size:u kernel_h:u kernel_w:u stride:u=1
  stride_h:u stride_w:u engine:Engine global_pooling:b ceil_mode:b=true round_mode:RoundMode
PowerParameter power:f=1 scale:f=1 shift:f
PReLUParameter filler:FillerParameter channel_shared:b
PriorBoxParameter min_size:f* max_size:f* aspect_ratio:f* flip:b=true clip:b variance:f* img_size:u img_h:u
  img_w:u step:f step_h:f step_w:f offset:f=0.5 fixed_size:f* fixed_ratio:f* density:f*
ProposalParameter feat_stride:u=16 base_size:u=16 min_size:u=16 ratio:f* scale:f* pre_nms_topn:u=6000
  post_nms_topn:u=300 nms_thresh:f=0.7
PSROIPoolingParameter spatial_scale:f output_dim:i group_size:i
PythonParameter module:s layer:s param_str:s share_in_parallel:b
RecurrentParameter num_output:u weight_filler:FillerParameter bias_filler:FillerParameter debug_info:b
  expose_hidden:b
ReductionParameter operation:ReductionOp=SUM axis:i coeff:f=1
ReLUParameter negative_slope:f engine:Engine
ReLU6Parameter negative_slope:f engine:Engine threshold:f=6
ReorgParameter stride:u reverse:b
ReshapeParameter shape:BlobShape axis:i num_axes:i=-1
ROIPoolingParameter pooled_h:u pooled_w:u spatial_scale:f=1
ScaleParameter axis:i=1 num_axes:i=1 filler:FillerParameter bias_term:b bias_filler:FillerParameter
ShuffleChannelParameter group:u=1
SliceParameter axis:i=1 slice_point:u* slice_dim:u=1
SoftmaxParameter engine:Engine axis:i=1
SPPParameter pyramid_height:u pool:PoolMethod engine:Engine
SwishParameter beta:f=1
ThresholdParameter threshold:f
TileParameter axis:i=1 tiles:i
UpsampleParameter scale:f=1 scale_h:u scale_w:u pad_out_h:b pad_out_w:b upsample_h:u upsample_w:u height:u
  width:u stride:i stride_h:i stride_w:i mode:UpsampleMode
YoloDetectionOutputParameter side:u=13 num_classes:u=20 num_box:u=5 coords:u=4 confidence_threshold:f=0.01
  nms_threshold:f=0.45 biases:f* label_map_file:s
Yolov3DetectionOutputParameter num_classes:u=20 num_box:u=3 confidence_threshold:f=0.01 nms_threshold:f=0.45
  biases:f* anchors_scale:u* mask_group_num:u=2 mask:u*
"""

# Of layers that feed a network or train it: read, so that files which hold them are, and then dropped.
TRAINING = """
AccuracyParameter top_k:u=1 axis:i=1 ignore_label:i
AnnotatedDataParameter batch_sampler:BatchSampler* label_map_file:s anno_type:AnnotationType
  yolo_data_type:i yolo_data_jitter:f train_diffcult:b single_class:b
BatchSampler use_original_image:b sampler:Sampler sample_constraint:SampleConstraint max_sample:u
  max_trials:u
Sampler min_scale:f max_scale:f min_aspect_ratio:f max_aspect_ratio:f
SampleConstraint min_jaccard_overlap:f max_jaccard_overlap:f min_sample_coverage:f max_sample_coverage:f
  min_object_coverage:f max_object_coverage:f
ContrastiveLossParameter margin:f=1 legacy_version:b
DataParameter source:s batch_size:u rand_skip:u backend:DB scale:f=1 mean_file:s crop_size:u mirror:b
  force_encoded_color:b prefetch:u threads:u parser_threads:u cache:b shuffle:b side:u*
DetectionEvaluateParameter num_classes:u background_label_id:u overlap_threshold:f evaluate_difficult_gt:b
  name_size_file:s resize_param:ResizeParameter
DetectNetAugmentation crop_prob:f shift_x:u shift_y:u scale_prob:f scale_min:f scale_max:f flip_prob:f
  rotation_prob:f max_rotate_degree:f hue_rotation_prob:f hue_rotation:f desaturation_prob:f
  desaturation_max:f
DetectNetGroundTruth stride:u scale_cvg:f gridbox_type:GridboxType max_cvg_len:u min_cvg_len:u
  coverage_type:CoverageType image_size_x:u image_size_y:u obj_norm:b crop_bboxes:b
  object_class:ClassMapping*
ClassMapping src:u dst:u
DistortionParameter brightness_prob:f brightness_delta:f contrast_prob:f contrast_lower:f contrast_upper:f
  hue_prob:f hue_delta:f saturation_prob:f saturation_lower:f saturation_upper:f random_order_prob:f
DummyDataParameter data_filler:FillerParameter* shape:BlobShape* num:u* channels:u* height:u* width:u*
EmbedParameter num_output:u input_dim:u bias_term:b weight_filler:FillerParameter
  bias_filler:FillerParameter
EmitConstraint emit_type:EmitType emit_overlap:f
ExpansionParameter prob:f max_expand_ratio:f
HDF5DataParameter source:s batch_size:u shuffle:b
HDF5OutputParameter file_name:s
HingeLossParameter norm:HingeNorm
ImageDataParameter source:s batch_size:u rand_skip:u shuffle:b new_height:u new_width:u is_color:b=true
  scale:f=1 mean_file:s crop_size:u mirror:b root_folder:s ignore_label:i label_type:LabelType
InfogainLossParameter source:s axis:i
LossParameter ignore_label:i normalization:NormalizationMode normalize:b weight_by_label_freqs:b
  class_weighting:f*
MemoryDataParameter batch_size:u channels:u height:u width:u
MultiBoxLossParameter loc_loss_type:LocLossType conf_loss_type:ConfLossType loc_weight:f num_classes:u
  share_location:b match_type:MatchType overlap_threshold:f use_prior_for_matching:b background_label_id:u
  use_difficult_gt:b do_neg_mining:b neg_pos_ratio:f neg_overlap:f code_type:CodeType
  encode_variance_in_target:b map_object_to_agnostic:b ignore_cross_boundary_bbox:b bp_inside:b
  mining_type:MiningType nms_param:NonMaximumSuppressionParameter sample_size:i use_prior_for_nms:b
NoiseParameter prob:f hist_eq:b inverse:b decolorize:b gauss_blur:b jpeg:f posterize:b erode:b saltpepper:b
  saltpepper_param:SaltPepperParameter clahe:b convert_to_hsv:b convert_to_lab:b
RegionLossParameter side:u num_class:u bias_match:u coords:u num:u softmax:u jitter:f rescore:u
  object_scale:f class_scale:f noobject_scale:f coord_scale:f absolute:u thresh:f random:u biases:f*
  softmax_tree:s class_map:s
ResizeParameter prob:f resize_mode:ResizeMode height:u width:u height_scale:u width_scale:u pad_mode:PadMode
  pad_value:f* interp_mode:InterpMode*
SaltPepperParameter fraction:f value:f*
SaveOutputParameter output_directory:s output_name_prefix:s output_format:s label_map_file:s
  name_size_file:s num_test_image:u resize_param:ResizeParameter
SmoothL1LossParameter sigma:f
TransformationParameter scale:f=1 mirror:b crop_size:u crop_h:u crop_w:u mean_file:s mean_value:f*
  force_color:b force_gray:b resize_param:ResizeParameter* noise_param:NoiseParameter
  distort_param:DistortionParameter expand_param:ExpansionParameter emit_constraint:EmitConstraint bgr2rgb:b
  img_rand_resize_lower:u img_rand_resize_upper:u use_gpu_transform:b random_seed:i
VideoDataParameter video_type:i device_id:i video_file:s skip_frames:u source:s batch_size:u rand_skip:u
  shuffle:b new_height:u new_width:u
WindowDataParameter source:s scale:f=1 mean_file:s batch_size:u crop_size:u mirror:b fg_threshold:f
  bg_threshold:f fg_fraction:f context_pad:u crop_mode:s cache_images:b root_folder:s
Yolov3Parameter side:u num_class:u num:u object_scale:f class_scale:f noobject_scale:f coord_scale:f
  thresh:f anchors_scale:u biases:f* mask:u* use_logic_gradient:b use_focal_loss:b
"""

# A file of weights: the fields that are read, each with its number. Floats are one run of bytes there
# (`packed`), or a field each in files of the first versions (`unpacked`).
WEIGHTS = """
NetParameter layers:V1LayerParameter*@2 layer:LayerParameter*@100
LayerParameter name:B@1 type:B@2 blobs:BlobProto*@7
V1LayerParameter layer:V0LayerParameter@1 name:B@4 blobs:BlobProto*@6
V0LayerParameter name:B@1 blobs:BlobProto*@50
BlobShape dim:I*@1
BlobProto num:i@1 channels:i@2 height:i@3 width:i@4 data:{floats}@5 shape:BlobShape@7
  double_data:{doubles}@8 raw_data_type:i@10 raw_data:B@12
"""
PACKED_WEIGHTS = WEIGHTS.format(floats="B", doubles="B")
UNPACKED_WEIGHTS = WEIGHTS.format(floats="f*", doubles="d*")
