variable "name" {
  type        = string
  description = "Of the cluster's instances: launch template, Auto Scaling group, role"
}

variable "cluster" {
  type        = string
  description = "Name of the ECS cluster"
}

variable "ami" {
  type        = string
  description = "Image with fairlead installed, see packaging/packer"
}

variable "instance_type" {
  type    = string
  default = "m6i.large"
}

variable "vpc_id" {
  type = string
}

variable "subnets" {
  type = list(string)
}

variable "fluentd" {
  type        = list(string)
  description = "Where the logs go: host:port of each endpoint"
}

variable "fluentd_cidrs" {
  type        = list(string)
  description = "Networks that the receivers are in"
}

variable "fluentd_port" {
  type    = number
  default = 24224
}

variable "prometheus_cidrs" {
  type        = list(string)
  default     = []
  description = "Who may read port 9778"
}

variable "spill_bucket" {
  type        = string
  default     = ""
  description = "Bucket for what a dying host could not deliver; empty: none"
}

variable "stop_standalone" {
  type        = bool
  default     = false
  description = "Tasks of no service are stopped when the instance is taken out; else they are waited for. Takes the right to stop tasks of the cluster"
}

variable "secrets" {
  type        = list(string)
  default     = []
  description = "ARNs of the parameters (Parameter Store) that the configuration names"
}

variable "settings" {
  type        = map(any)
  default     = {}
  description = "Further settings of the ECS agent"
}

variable "min_size" {
  type    = number
  default = 0
}

variable "max_size" {
  type    = number
  default = 10
}

variable "root_gib" {
  type    = number
  default = 30
}

variable "docker_gib" {
  type        = number
  default     = 100
  description = "Second volume: Docker's folder, and the spool"
}
