# Cook's distances of DESeq2 and what it does about outliers, on drawn counts with planted ones.
#   Rscript validation/make_golden_cooks.R tests/data
# Made with DESeq2 1.38.3, R 4.2.2: 16 samples of two groups (of 8) and two batches, 120 genes. cooks.csv.gz: design ~ group,
# distances; replaced.csv.gz: the counts after its replacement; genes.csv.gz: dispersions, largest distances (of the fit before
# the replacement), whether the p-value is missing with 6 of the 16 samples (no replacement below 7 replicates).
suppressMessages(library(DESeq2))
root <- file.path(commandArgs(TRUE)[1], "cooks"); dir.create(root, showWarnings = FALSE)
set.seed(11)
n <- 120; m <- 16
mean <- exp(runif(n, 2, 7)); alpha <- 0.05 + 1 / mean
sf <- exp(rnorm(m, 0, 0.3)); group <- rep(c("A", "B"), each = 8); batch <- rep(c("x", "y"), 8)
fold <- matrix(1, n, m); fold[1:20, group == "B"] <- 3
Y <- matrix(rnbinom(n * m, mu = (mean %o% sf) * fold, size = 1 / alpha), n, m)
dimnames(Y) <- list(paste0("g", 1:n), paste0("s", 1:m))
for (i in 1:15) Y[5 + i, 1 + (5 * i) %% m] <- Y[5 + i, 1 + (5 * i) %% m] * 15L + 40L
storage.mode(Y) <- "integer"
obs <- data.frame(group = factor(group), batch = factor(batch), row.names = colnames(Y))
run <- function(columns, ...) {
  d <- DESeqDataSetFromMatrix(Y[, columns], obs[columns, ], ~ group)
  sizeFactors(d) <- sf[columns]
  suppressMessages(DESeq(d, fitType = "mean", quiet = TRUE, ...))
}
save <- function(x, name) {
  con <- gzfile(file.path(root, name), "w")
  write.csv(format(as.data.frame(x), digits = 15, trim = TRUE), con, quote = FALSE); close(con)
}
before <- run(1:m, minReplicatesForReplace = Inf)
after <- run(1:m)
few <- run(c(1:3, 9:11))
save(Y, "counts.csv.gz"); save(obs, "obs.csv.gz"); save(data.frame(sample = colnames(Y), size_factor = sf), "samples.csv.gz")
save(assays(before)[["cooks"]], "cooks.csv.gz"); save(assays(after)[["replaceCounts"]], "replaced.csv.gz")
save(data.frame(dispersion = dispersions(before), max_cooks = mcols(before)$maxCooks,
  few_dispersion = dispersions(few), few_max_cooks = mcols(few)$maxCooks, few_missing = is.na(results(few)$pvalue)), "genes.csv.gz")
print(colSums(is.na(results(few)))); print(sum(assays(after)[["replaceCounts"]] != Y))
print(which(assays(after)[["replaceCounts"]] != Y, arr.ind = TRUE))
