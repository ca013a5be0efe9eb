# Instances of an ECS cluster with fairlead: a launch template with two volumes, an Auto Scaling group whose instances are drained before they
# go, and no more rights than that takes.
terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

data "aws_region" "here" {}
data "aws_caller_identity" "me" {}
data "aws_partition" "this" {}

locals {
  account = "${data.aws_region.here.id}:${data.aws_caller_identity.me.account_id}"
  prefix  = "arn:${data.aws_partition.this.partition}"
}

resource "aws_launch_template" "this" {
  name_prefix            = "${var.name}-"
  image_id               = var.ami
  instance_type          = var.instance_type
  update_default_version = true
  user_data              = base64encode(local.user_data)
  vpc_security_group_ids = [aws_security_group.this.id]

  iam_instance_profile {
    arn = aws_iam_instance_profile.this.arn
  }

  # Hop limit 1: the metadata service, and with it the role of the instance, is not for containers.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_type           = "gp3"
      volume_size           = var.root_gib
      encrypted             = true
      delete_on_termination = true
    }
  }

  # /dev/sdf is what user-data.tftpl mounts.
  block_device_mappings {
    device_name = "/dev/sdf"
    ebs {
      volume_type           = "gp3"
      volume_size           = var.docker_gib
      encrypted             = true
      delete_on_termination = true
    }
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = var.name }
  }
}

resource "aws_autoscaling_group" "this" {
  name                = var.name
  min_size            = var.min_size
  max_size            = var.max_size
  vpc_zone_identifier = var.subnets

  launch_template {
    id      = aws_launch_template.this.id
    version = aws_launch_template.this.latest_version
  }

  # In the group itself, so that no instance is made before it is there.
  initial_lifecycle_hook {
    name                 = local.hook
    lifecycle_transition = "autoscaling:EC2_INSTANCE_TERMINATING"
    default_result       = "CONTINUE"
    heartbeat_timeout    = 300
  }

  # The first instances are to find what they may do.
  depends_on = [aws_iam_role_policy.fairlead, aws_iam_role_policy_attachment.ecs]

  tag {
    key                 = "AmazonECSManaged"
    value               = ""
    propagate_at_launch = true
  }

  lifecycle {
    ignore_changes = [desired_capacity]
  }
}

resource "aws_security_group" "this" {
  name_prefix = "${var.name}-"
  description = "Container instances"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "fluentd" {
  for_each          = toset(var.fluentd_cidrs)
  security_group_id = aws_security_group.this.id
  description       = "Forward protocol"
  ip_protocol       = "tcp"
  from_port         = var.fluentd_port
  to_port           = var.fluentd_port
  cidr_ipv4         = each.value
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.this.id
  description       = "AWS and registries"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_ingress_rule" "metrics" {
  for_each          = toset(var.prometheus_cidrs)
  security_group_id = aws_security_group.this.id
  description       = "Prometheus"
  ip_protocol       = "tcp"
  from_port         = 9778
  to_port           = 9778
  cidr_ipv4         = each.value
}

resource "aws_iam_role" "this" {
  name_prefix = "${var.name}-"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ec2.amazonaws.com" } }]
  })
}

resource "aws_iam_instance_profile" "this" {
  name_prefix = "${var.name}-"
  role        = aws_iam_role.this.name
}

# What the ECS agent itself needs.
resource "aws_iam_role_policy_attachment" "ecs" {
  role       = aws_iam_role.this.name
  policy_arn = "${local.prefix}:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

# What fairlead needs besides: to set its own instance DRAINING and ACTIVE, to tell why tasks and services fail, to finish its own hook, to read
# the secrets that it is told of, and to write where it spills. What is spilled others read: a host needs to replay nothing of its own.
resource "aws_iam_role_policy" "fairlead" {
  name = "fairlead"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid       = "Drain"
        Effect    = "Allow"
        Action    = concat(["ecs:UpdateContainerInstancesState", "ecs:DescribeContainerInstances"], var.stop_standalone ? ["ecs:StopTask"] : [])
        Resource  = "*"
        Condition = { ArnEquals = { "ecs:cluster" = "${local.prefix}:ecs:${local.account}:cluster/${var.cluster}" } }
      },
      {
        Sid       = "Tell"
        Effect    = "Allow"
        Action    = ["ecs:DescribeTasks", "ecs:DescribeServices", "ecs:ListTasks"]
        Resource  = "*"
        Condition = { ArnEquals = { "ecs:cluster" = "${local.prefix}:ecs:${local.account}:cluster/${var.cluster}" } }
      },
      {
        Sid      = "Hook"
        Effect   = "Allow"
        Action   = ["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"]
        Resource = "${local.prefix}:autoscaling:${local.account}:autoScalingGroup:*:autoScalingGroupName/${var.name}"
      },
      {
        Sid      = "FindHook"
        Effect   = "Allow"
        Action   = ["autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeLifecycleHooks"]
        Resource = "*" # these know no resources
      },
      ], length(var.secrets) == 0 ? [] : [{
        Sid      = "Secrets"
        Effect   = "Allow"
        Action   = ["ssm:GetParameter"]
        Resource = var.secrets
        }], var.spill_bucket == "" ? [] : [{
        Sid      = "Spill"
        Effect   = "Allow"
        Action   = ["s3:PutObject"]
        Resource = "${local.prefix}:s3:::${var.spill_bucket}/${var.name}/*"
    }])
  })
}
