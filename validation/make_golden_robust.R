# What R's limma makes of dispersions with outliers: robust hyperparameters (fitFDistRobustly) of drawn variances.
#   Rscript validation/make_golden_robust.R tests/data
# Made with limma 3.54.1, R 4.2.2. Columns: the case, its residual degrees of freedom, the variance and its covariate, and
# limma's scale, degrees of freedom of regular genes and of outliers, and of each gene.
suppressMessages(library(limma))
root <- commandArgs(TRUE)[1]
set.seed(1)
case <- function(name, n, d, d0, outliers, factor, trend = FALSE) {
  mean <- round(runif(n, 0, 10), 3)
  x <- 0.1 * (if (is.finite(d0)) rf(n, d, d0) else rchisq(n, d) / d)
  if (trend) x <- x * exp(1 - 0.3 * mean + 0.02 * mean^2)
  if (outliers) x[1:outliers] <- x[1:outliers] * factor
  x <- signif(x, 8)
  r <- fitFDistRobustly(x, d, if (trend) mean)
  by_gene <- if (is.null(r$df2.shrunk)) rep(r$df2, n) else r$df2.shrunk
  data.frame(case = name, d = d, x = x, mean = mean, scale = r$scale, df2 = r$df2, df2_outlier = r$df2.outlier,
    df2_by_gene = by_gene)
}
out <- rbind(case("few", 600, 6, 8, 18, 30), case("many", 1000, 4, 12, 30, 20), case("none", 500, 26, 4, 0, 1),
  case("nearly normal", 800, 9, Inf, 12, 10), case("few df", 800, 3, 40, 3, 100), case("trend", 1500, 6, 7, 30, 25, TRUE),
  case("unequal", 1500, rep_len(c(2, 3.5, 6, 9), 1500), 7, 30, 25))
dir.create(file.path(root, "robust"), showWarnings = FALSE)
con <- gzfile(file.path(root, "robust", "limma.csv.gz"), "w")
write.csv(format(out, digits = 15, trim = TRUE), con, row.names = FALSE, quote = FALSE); close(con)
