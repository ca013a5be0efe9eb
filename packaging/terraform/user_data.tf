# What the instances are told. It needs no provider, so `terraform console` shows it: echo local.user_data | terraform console -var ...
locals {
  hook = "fairlead-drain"
  fairlead = {
    forward = { to = var.fluentd }
    drain   = merge({ hook = local.hook, stop_standalone = var.stop_standalone }, var.spill_bucket == "" ? {} : { spill = "s3://${var.spill_bucket}/${var.name}" })
    ecs = {
      settings = merge({
        ECS_CLUSTER                   = var.cluster
        ECS_AVAILABLE_LOGGING_DRIVERS = ["json-file", "fluentd"]
      }, var.settings)
    }
  }
  # JSON is YAML.
  user_data = templatefile("${path.module}/user-data.tftpl", { fairlead = jsonencode(local.fairlead) })
}
