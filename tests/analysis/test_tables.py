"""The report as a whole."""

import dataclasses

from hierkeras.analysis import tables

REPORT = """\
generation 2: 4 classes, 2 leaves, depth 2
9 test images, hard routing: top-1 error 44.44%, top-5 error 22.22%, \
calibration error 37.78%
  hard 44.44%, soft 33.33%, fused 22.22%
  old classes 50.00%, new classes 33.33%
1,234,567 parameters, 22.5 MFLOP per image, 2.25 times those of the root

Table 3: the last step's contenders
  increment  training      routing   error  images swept
  flat       from-scratch  -        11.11%           500
  flat       incremental   -        66.67%           100
  clone      incremental   hard     44.44%           170
  clone      incremental   soft     33.33%           170
  clone      incremental   fused    22.22%           170

Table 4: errors by superclass, hard routing
  superclass  classes    leaf  branch  leaf+branch    flat
  root.1            2  25.00%  25.00%       50.00%  75.00%
  root.2            2  40.00%  20.00%       40.00%  60.00%

Table 5: error of the leaf where the branch is right, and wrong
  superclass  branch correct  branch miss
  root.1              33.33%        0.00%
  root.2              25.00%      100.00%

Steps
  generation  new classes  images swept  jobs  reused   s
           1            3        12,000     1       0  62
           2            1           170     3       1   2
"""


def test_the_whole_report(evaluation):
    sized = dataclasses.replace(
        evaluation,
        num_parameters=1_234_567,
        forward_flops_per_image=22.46e6,
        root_flops_per_image=10e6,
    )

    assert tables.text(sized) + "\n" == REPORT
