# An ECS AMI with fairlead: packer init . && packer build -var package_url=https://.../fairlead_1.0.0_linux_amd64.rpm -var package_sha256=... .
# Nothing is started while the image is made; the package enables its units, and the first boot of an instance starts them.
packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.3.0"
    }
  }
}

variable "region" {
  type    = string
  default = "eu-west-1"
}

variable "arch" {
  type        = string
  default     = "amd64"
  description = "amd64 or arm64"
}

variable "package_url" {
  type        = string
  description = "The rpm of the release, for this architecture"
}

variable "package_sha256" {
  type        = string
  description = "Its line in SHA256SUMS"
}

variable "forward_to" {
  type        = string
  default     = ""
  description = "host:port of Fluentd, if it is the same for all instances of the image; else user data says it"
}

locals {
  # Amazon Linux 2023. For Amazon Linux 2: amzn2-ami-ecs-hvm-2.0.*-x86_64-ebs, and -arm64-ebs.
  name = var.arch == "arm64" ? "al2023-ami-ecs-hvm-*-kernel-*-arm64" : "al2023-ami-ecs-hvm-*-kernel-*-x86_64"
}

source "amazon-ebs" "ecs" {
  region        = var.region
  instance_type = var.arch == "arm64" ? "t4g.small" : "t3.small"
  ssh_username  = "ec2-user"
  ami_name      = "ecs-fairlead-${var.arch}-${formatdate("YYYYMMDDhhmmss", timestamp())}"
  source_ami_filter {
    owners      = ["amazon"]
    most_recent = true
    filters = {
      name                = local.name
      virtualization-type = "hvm"
      root-device-type    = "ebs"
    }
  }
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  imds_support = "v2.0"
  tags = {
    Name = "ecs-fairlead"
  }
}

build {
  sources = ["source.amazon-ebs.ecs"]

  provisioner "shell" {
    environment_vars = ["URL=${var.package_url}", "SHA256=${var.package_sha256}", "FORWARD_TO=${var.forward_to}"]
    inline = [
      "set -eu",
      "curl -fsSL -o /tmp/fairlead.rpm \"$URL\"",
      "echo \"$SHA256  /tmp/fairlead.rpm\" | sha256sum -c -",
      "sudo yum install -y /tmp/fairlead.rpm",
      "[ -z \"$FORWARD_TO\" ] || printf 'forward: {to: [\"%s\"]}\\n' \"$FORWARD_TO\" | sudo tee /etc/fairlead/conf.d/50-image.yaml >/dev/null",
      "sudo fairlead check",
      # What belongs to this instance and not to those made of the image.
      "sudo systemctl stop ecs || true",
      "sudo rm -rf /tmp/fairlead.rpm /var/lib/ecs/data/* /var/log/ecs/* /var/lib/fairlead/*",
      "sudo cloud-init clean --logs",
    ]
  }
}
