"""The ROS side: node, messages, parameters, diagnostics. Nothing else imports rclpy or message packages."""
