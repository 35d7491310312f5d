"""The commands: `ros2 run attention_fusion_ros NAME` or `python -m attention_fusion_ros NAME`; one a module."""
